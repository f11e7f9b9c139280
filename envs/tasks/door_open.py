"""Door-open: pull a cabinet's door open by its handle."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

CABINET_LOW, CABINET_HIGH = np.array([0.62, -0.12, 0.0]), np.array([0.68, 0.06, 0.0])
"""Corners of the area the middle of the cabinet's front edge stands in, m."""
YAW_LOW, YAW_HIGH = 0.1, 0.5
"""Least and greatest turn of the cabinet about the vertical, rad."""
HINGE = np.array([-0.007, 0.112, 0.092])
"""The door's origin, on its hinge, in the cabinet's frame, m."""
HANDLE = np.array([-0.060, -0.160, 0.066])
"""Middle of the handle's bar in the door's frame, m."""
HAND_LOW, HAND_HIGH = np.array([-0.08, -0.08, 0.05]), np.array([0.04, 0.08, 0.12])
"""Corners of the box the hand starts in, from the closed handle, m."""
OPEN = math.radians(60.0)
"""Angle at which the door counts as open, rad."""
BEHIND, BELOW = 0.025, 0.010
"""Where the fingers hook the bar, from its middle: between bar and door, and below, m."""
HALF_DISTANCE = 0.05
"""Distance at which the hook term is one half, m."""


@TASKS.register("door-open")
class DoorOpen(ArmTask):
    """Pull a cabinet's door open by its handle.

    The fingers have to go down behind the bar, between it and the door, and pull it along the
    arc about the hinge; nothing but contact moves the door.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the
    middle of the handle's bar, 13 is the door's angle (1: 60 degrees), and the goal is where the
    handle is when the door is open by 60 degrees. 10-12 are the door's normal, which points into
    the cabinet while the door is closed. Always the same are the heights of the object (9) and the
    goal (19), and what follows from them: 12, 16 and 25.

    **Action**: `lifelong_rl.envs.arm.controller`; behind the bar there is room for closed fingers
    to turn in.

    **Reward**, in [0, 1]:

    ====== ====== ============================================================================
    term   weight value
    ====== ====== ============================================================================
    hook   0.3    1 / (1 + d / 5 cm), d the distance from hand to the hooking point: 2.5 cm
                  behind the bar, towards the door, and 1 cm below it
    open   0.7    how far the door is open, 1 at 60 degrees and beyond
    ====== ====== ============================================================================

    **Success**: the door is open by 60 degrees or more.

    **Start**: the cabinet stands uniformly in an area of 6 x 18 cm, turned by 0.1 to 0.5 rad
    towards the arm's right, its door closed; the hand is uniform in a box 12 x 16 x 7 cm above
    the handle. An episode has 60 control steps (2.4 s) and is only ever truncated.

    **Version**: v0.
    """

    name = "door-open"
    horizon = 60
    objects = ("door",)
    object_site = "door/handle"
    object_joint = "door/door"
    joint_range = OPEN
    weights: ClassVar[dict[str, float]] = {"hook": 0.3, "open": 0.7}

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the cabinet's place and turn, and the hand's place."""
        cabinet = uniform(rng, CABINET_LOW, CABINET_HIGH)
        yaw = rng.uniform(YAW_LOW, YAW_HIGH)
        hinge = cabinet + turned(HINGE, yaw)
        return Start(
            hand=hinge + turned(HANDLE, yaw) + uniform(rng, HAND_LOW, HAND_HIGH),
            goal=hinge + turned(HANDLE, yaw - OPEN),
            fixture=cabinet,
            yaw=yaw,
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return how near the fingers are to hooking the bar, and how far the door is open."""
        return {
            "hook": 1.0 / (1.0 + distance(state.hand, hooking_point(state)) / HALF_DISTANCE),
            "open": clip(state.joint / OPEN, 0.0, 1.0),
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the door is open by `OPEN` or more."""
        return state.joint >= OPEN


def turned(vector: Array, yaw: float) -> Array:
    """Return a vector, (3,), turned anticlockwise about the vertical by an angle in rad."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1], vector[2]])


def hooking_point(state: State) -> Array:
    """Return where the fingers pull, between bar and door and a little below, (n, 3), m."""
    point: Array = state.object + BEHIND * state.object_axis - np.array([0.0, 0.0, BELOW])
    return point
