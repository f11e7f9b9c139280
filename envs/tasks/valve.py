"""Valves: turn a valve under the claw; ten shapes, and ten more tasks the other way round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from lifelong_rl.envs.claw.observation import HOME, NUM_JOINTS, State, norm
from lifelong_rl.envs.claw.task import ClawTask, Start
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

SHAPES: Mapping[str, str] = {
    "tri": "a valve with three lobes",
    "cross": "a valve with four arms in a flat cross",
    "tee": "a valve with three arms in a T",
    "bar": "a valve with two arms in a line",
    "ell": "a valve with a long and a short arm at a right angle",
    "star": "a valve with six thin arms",
    "square": "a square block",
    "hexagon": "a hexagonal nut",
    "wheel": "a handwheel with three spokes",
    "crank": "a crank with an upright peg",
}
"""What ``assets/valve_SHAPE.xml`` shows, by shape."""

HALF_TURN = math.pi
"""Target of the ten valves, rad; it may be reached either way round."""
RIGHT = math.radians(-150.0)
"""Target of the ten more valves, rad: clockwise, seen from above."""
VALVE_SPREAD = np.array([0.09])
"""Largest angle of the valve at the start, rad."""
JOINT_SPREAD = np.full(NUM_JOINTS, 0.02)
"""Largest distance of each joint from home at the start, rad."""
MAX_POSTURE = 2.5
"""Bound of the posture term, rad; the joints' limits keep it below 2.2."""
MAX_SPEED = 20.0
"""Bound of the speed term, rad/s."""
STILL = 0.5
"""Joint speed below which a joint counts as still, rad/s."""
NEAR, THERE = 0.25, 0.10
"""Errors below which the near and there terms are 1, rad; the valve is turned at `THERE`."""


class Valve(ClawTask):
    """Turn a valve about the vertical to a given angle.

    The fingers reach a third of a turn each: they have to push on, let go, reach back and push
    again. Valves differ in shape and target alone; hinge and inertia are the same. The hinge has
    no stops, and its friction keeps the valve where it is let go.

    **Observation**, 21 entries (`lifelong_rl.envs.claw.observation`), finger by finger and within a
    finger swing, shoulder, knee:

    ===== ================================================== ====== ==========================
    index entry                                              unit   scaled as
    ===== ================================================== ====== ==========================
    0-8   joint positions                                    rad    (value - home) / reach
    9-10  cosine and sine of the valve's angle               1      value
    11-19 last action (zeros at the start)                   1      value
    20    target angle - valve's angle, in [-π, π]           rad    value / π
    ===== ================================================== ====== ==========================

    **Action**, 9 entries in [-1, 1]: the joints' servos aim at home + reach * action, where home is
    0, 0.5, -1 and reach 0.6, 0.5, 0.6 rad for swing, shoulder, knee.

    **Reward**, in [`reward_range`]; the error is the shorter way from the valve's angle to the
    target:

    ======= ====== ===========================================================================
    term    weight value
    ======= ====== ===========================================================================
    error   -5     the size of the error, rad
    posture -1     length of the joints' distance from home, rad, at most 2.5
    speed   -1     length of the joint velocities of 0.5 rad/s and more, rad/s, at most 20
    near    10     1 if the error is below 0.25 rad, else 0
    there   50     1 if the error is below 0.10 rad, else 0
    ======= ====== ===========================================================================

    **Success**: the error is below 0.10 rad.

    **Start**: the valve within 0.09 rad of 0 and each joint within 0.02 rad of home, uniformly; the
    fingertips hang among the arms. An episode has 40 control steps (1.6 s) and is only ever
    truncated.

    **Version**: v0.

    Attributes:
        target: the angle to turn the valve to, rad.
    """

    horizon = 40
    weights: ClassVar[dict[str, float]] = {
        "error": -5.0,
        "posture": -1.0,
        "speed": -1.0,
        "near": 10.0,
        "there": 50.0,
    }
    reward_range = (-5.0 * math.pi - MAX_POSTURE - MAX_SPEED, 60.0)

    def __init__(self, name: str, shape: str, target: float) -> None:
        """Describe one valve.

        Args:
            name: the task's name.
            shape: a name in `SHAPES`.
            target: the angle to turn it to, rad.
        """
        self.name = name
        self.shape = shape
        self.target = target
        self.description = f"Turn {SHAPES[shape]} {_way(target)}."

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the joints' positions and the valve's angle."""
        return Start(
            joints=HOME + uniform(rng, -JOINT_SPREAD, JOINT_SPREAD),
            valve=float(uniform(rng, -VALVE_SPREAD, VALVE_SPREAD)[0]),
            target=self.target,
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return the size of the error, how far and fast the joints are, and what is reached."""
        error = np.abs(state.error)
        speed = np.abs(state.joint_velocity)
        return {
            "error": error,
            "posture": np.minimum(norm(state.joints - HOME), MAX_POSTURE),
            "speed": np.minimum(norm(np.where(speed >= STILL, speed, 0.0)), MAX_SPEED),
            "near": (error < NEAR).astype(np.float64),
            "there": (error < THERE).astype(np.float64),
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the error is below `THERE`."""
        return np.abs(state.error) < THERE


def _way(angle: float) -> str:
    """Return a turn in words."""
    if abs(angle) == HALF_TURN:
        return "by half a turn, either way round"
    return f"{abs(math.degrees(angle)):.0f} degrees {'counter' if angle > 0 else ''}clockwise"


VALVES: tuple[Valve, ...] = tuple(Valve(f"valve-{shape}", shape, HALF_TURN) for shape in SHAPES)
"""Ten valves to be turned by half a turn."""
MORE_VALVES: tuple[Valve, ...] = tuple(
    Valve(f"valve-{shape}-right", shape, RIGHT) for shape in SHAPES
)
"""The same ten to be turned clockwise by less."""

for _valve in (*VALVES, *MORE_VALVES):
    TASKS.register(_valve.name)(_valve)
