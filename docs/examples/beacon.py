"""From outside: a task with an MJCF file, a mesh and a texture of its own, and a sequence."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from lifelong_rl import envs
from lifelong_rl.envs.arm.observation import MAX_OPENING, State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.experts.motion import CLOSED, toward
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.sequences import Sequence
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import SEQUENCES

PLACE_LOW, PLACE_HIGH = np.array([0.44, -0.12, 0.0]), np.array([0.58, 0.12, 0.0])
TIP = np.array([0.0, 0.0, 0.08])
ABOVE = np.array([0.0, 0.0, 0.05])
RADIUS = 0.025


class Beacon(ArmTask):
    """Hold the closed hand right above a beacon.

    **Reward**, in [0, 1]: 1 / (1 + d / 5 cm), d the distance from the hand to the point 5 cm above
    the beacon's tip. **Success**: d < 2.5 cm.
    """

    name = "beacon"
    horizon = 50
    objects = (Path(__file__).with_name("beacon.xml"),)
    object_site = "beacon/tip"
    weights: ClassVar[dict[str, float]] = {"proximity": 1.0}

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the beacon's place and the hand's, beside and above it."""
        place = uniform(rng, PLACE_LOW, PLACE_HIGH)
        away = uniform(rng, np.array([-0.12, -0.10, 0.10]), np.array([-0.06, 0.10, 0.18]))
        return Start(
            hand=place + TIP + away, goal=place + TIP + ABOVE, opening=MAX_OPENING, fixture=place
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Each term before weighting, (n,)."""
        return {"proximity": 1.0 / (1.0 + distance(state.hand, state.object + ABOVE) / 0.05)}

    def success(self, state: State) -> np.ndarray:
        """Whether each row's hand is there, (n,) bool."""
        return distance(state.hand, state.object + ABOVE) < RADIUS


def expert(state: State) -> Array:
    """Actions (n, 4) that solve the task, from the state alone."""
    return toward(state, state.object + ABOVE, CLOSED)


envs.register_task(Beacon(), expert)
SEQUENCES.register("lights")(
    Sequence(
        "lights", ("reach", "beacon"), "reach a point, then find a beacon", steps_per_task=5000
    )
)
