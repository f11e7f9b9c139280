"""Drawer-close: push an open drawer shut."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

CABINET_LOW, CABINET_HIGH = np.array([0.65, -0.12, 0.0]), np.array([0.70, 0.12, 0.0])
"""Corners of the area the middle of the cabinet's front edge stands in, m."""
YAW = 0.25
"""Largest turn of the cabinet about the vertical to either side, rad."""
HANDLE = (-0.062, 0.155)
"""Closed handle, from the middle of the cabinet's front edge: into the cabinet, and up, m."""
OPEN_LOW, OPEN_HIGH = 0.14, 0.17
"""Least and greatest opening at the start, m."""
HAND_LOW, HAND_HIGH = np.array([-0.10, -0.08, 0.06]), np.array([0.02, 0.08, 0.13])
"""Corners of the box the hand starts in, from the handle, m."""
CLOSED = 0.01
"""Opening at which the drawer counts as closed, m."""
FRONT, BELOW = 0.03, 0.01
"""Where the fingers push, from the middle of the handle: in front of it, and below, m."""
HALF_DISTANCE = 0.05
"""Distance at which the touch term is one half, m."""


@TASKS.register("drawer-close")
class DrawerClose(ArmTask):
    """Push an open drawer shut.

    The fingers have to come down in front of the handle's bar and push it towards the cabinet,
    which stands askew; nothing but contact moves the drawer.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the
    middle of the handle, 13 is how far the drawer is open (1: 17 cm), and the goal is where the
    handle is when the drawer is closed. 10-12 point into the cabinet. Always the same are the
    heights of the object (9) and the goal (19), and what follows from them: 12, 16 and 25.

    **Action**: `lifelong_rl.envs.arm.controller`; the gripper may be open or closed.

    **Reward**, in [0, 1]:

    ====== ====== ============================================================================
    term   weight value
    ====== ====== ============================================================================
    touch  0.3    1 / (1 + d / 5 cm), d the distance from hand to the pushing point: 3 cm in
                  front of the handle and 1 cm below it
    close  0.7    how far the drawer is closed: 0 when open by 17 cm or more, 1 when closed
    ====== ====== ============================================================================

    **Success**: the drawer is open by 1 cm or less.

    **Start**: the cabinet stands uniformly in an area of 5 x 24 cm, turned by up to 0.25 rad to
    either side, the drawer open by 14 to 17 cm; the hand is uniform in a box 12 x 16 x 7 cm above
    and in front of the handle. An episode has 50 control steps (2 s) and is only ever truncated.

    **Version**: v0.
    """

    name = "drawer-close"
    horizon = 50
    objects = ("drawer",)
    object_site = "drawer/handle"
    object_joint = "drawer/drawer"
    joint_range = OPEN_HIGH
    weights: ClassVar[dict[str, float]] = {"touch": 0.3, "close": 0.7}

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the cabinet's place and turn, the drawer's opening and the hand's place."""
        cabinet = uniform(rng, CABINET_LOW, CABINET_HIGH)
        yaw = rng.uniform(-YAW, YAW)
        opening = rng.uniform(OPEN_LOW, OPEN_HIGH)
        inward = np.array([math.cos(yaw), math.sin(yaw), 0.0])
        closed = cabinet + HANDLE[0] * inward + np.array([0.0, 0.0, HANDLE[1]])
        return Start(
            hand=closed - opening * inward + uniform(rng, HAND_LOW, HAND_HIGH),
            goal=closed,
            fixture=cabinet,
            yaw=yaw,
            qpos={"drawer/drawer": opening},
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return how near the fingers are to the pushing point, and how far the drawer is shut."""
        return {
            "touch": 1.0 / (1.0 + distance(state.hand, pushing_point(state)) / HALF_DISTANCE),
            "close": clip(1.0 - state.joint / OPEN_HIGH, 0.0, 1.0),
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the drawer is open by `CLOSED` or less."""
        return state.joint <= CLOSED


def pushing_point(state: State) -> Array:
    """Return where the fingers push from, in front of the handle and a little below, (n, 3), m."""
    point: Array = state.object - FRONT * state.object_axis - np.array([0.0, 0.0, BELOW])
    return point
