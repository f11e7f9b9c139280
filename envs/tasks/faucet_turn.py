"""Faucet-turn: turn a faucet's lever about the vertical."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

FAUCET_LOW, FAUCET_HIGH = np.array([0.50, -0.14, 0.0]), np.array([0.60, 0.14, 0.0])
"""Corners of the area the faucet's foot stands in, m."""
YAW = 0.5
"""Largest turn of the faucet about the vertical to either side, rad."""
LENGTH, HEIGHT = 0.115, 0.135
"""Distance of the knob from the lever's axis, and its height over the table, m."""
SHUT = math.pi - 0.65
"""Direction in which the lever points while shut, anticlockwise from the faucet's x axis, rad."""
HAND_LOW, HAND_HIGH = np.array([-0.06, -0.06, 0.05]), np.array([0.06, 0.12, 0.12])
"""Corners of the box the hand starts in, from the knob, m."""
TURN = math.radians(75.0)
"""Angle at which the lever counts as turned, rad."""
BEHIND, BELOW = 0.03, 0.008
"""Where the fingers push, from the knob: on the side it turns away from, and below, m."""
HALF_DISTANCE = 0.05
"""Distance at which the touch term is one half, m."""


@TASKS.register("faucet-turn")
class FaucetTurn(ArmTask):
    """Turn a faucet's lever anticlockwise.

    The fingers have to come down on the lever's clockwise side and push it along its arc;
    nothing but contact moves the lever.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the knob
    at the lever's end, 13 is the lever's angle (1: 75 degrees), and the goal is where the knob is
    when the lever is turned by 75 degrees. 10-12 are the direction in which the knob moves as the
    lever turns. Always the same are the heights of the object (9) and the goal (19), and what
    follows from them: 12, 16 and 25.

    **Action**: `lifelong_rl.envs.arm.controller`; closed fingers push best, wide open ones straddle
    the knob.

    **Reward**, in [0, 1]:

    ====== ====== ============================================================================
    term   weight value
    ====== ====== ============================================================================
    touch  0.3    1 / (1 + d / 5 cm), d the distance from hand to the pushing point: 3 cm
                  clockwise of the knob and 0.8 cm below it
    turn   0.7    how far the lever is turned, 1 at 75 degrees and beyond
    ====== ====== ============================================================================

    **Success**: the lever is turned by 75 degrees or more.

    **Start**: the faucet stands uniformly in an area of 10 x 28 cm, turned by up to 0.5 rad to
    either side; the shut lever points towards the arm, 0.65 rad to its left. The hand is uniform
    in a box 12 x 18 x 7 cm above the knob. An episode has 50 control steps (2 s) and is only ever
    truncated.

    **Version**: v0.
    """

    name = "faucet-turn"
    horizon = 50
    objects = ("faucet",)
    object_site = "faucet/knob"
    object_joint = "faucet/lever"
    joint_range = TURN
    weights: ClassVar[dict[str, float]] = {"touch": 0.3, "turn": 0.7}

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the faucet's place and turn, and the hand's place."""
        faucet = uniform(rng, FAUCET_LOW, FAUCET_HIGH)
        yaw = rng.uniform(-YAW, YAW)
        return Start(
            hand=faucet + knob(yaw + SHUT) + uniform(rng, HAND_LOW, HAND_HIGH),
            goal=faucet + knob(yaw + SHUT + TURN),
            fixture=faucet,
            yaw=yaw,
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return how near the fingers are to the pushing point, and how far the lever is turned."""
        return {
            "touch": 1.0 / (1.0 + distance(state.hand, pushing_point(state)) / HALF_DISTANCE),
            "turn": clip(state.joint / TURN, 0.0, 1.0),
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the lever is turned by `TURN` or more."""
        return state.joint >= TURN


def knob(direction: float) -> Array:
    """Return the knob from the faucet's position, where the lever points that way, (3,), m."""
    return np.array([LENGTH * math.cos(direction), LENGTH * math.sin(direction), HEIGHT])


def pushing_point(state: State) -> Array:
    """Return where the fingers push from, clockwise of the knob and a little below, (n, 3), m."""
    point: Array = state.object - BEHIND * state.object_axis - np.array([0.0, 0.0, BELOW])
    return point
