"""Drawer-open: pull a drawer out by its handle."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

CABINET_LOW, CABINET_HIGH = np.array([0.64, -0.12, 0.0]), np.array([0.70, 0.12, 0.0])
"""Corners of the area the middle of the cabinet's front edge stands in, m."""
HANDLE = np.array([-0.062, 0.0, 0.155])
"""Closed handle, from the cabinet's position, m."""
HAND_LOW, HAND_HIGH = np.array([-0.08, -0.08, 0.04]), np.array([0.04, 0.08, 0.12])
"""Corners of the box the hand starts in, from the closed handle, m."""
OPEN = 0.10
"""Opening at which the drawer counts as open, m."""
BEHIND = np.array([0.025, 0.0, -0.012])
"""Where the fingers hook the bar, from the handle: between bar and front, m."""
HALF_DISTANCE = 0.05
"""Distance at which the hook term is one half, m."""


@TASKS.register("drawer-open")
class DrawerOpen(ArmTask):
    """Pull a drawer open by its handle.

    The fingers have to go down behind the bar, between it and the drawer's front, and pull it
    towards the arm; nothing but contact moves the drawer.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the
    middle of the handle, 13 is how far the drawer is open (1: 10 cm), and the goal is where the
    handle is when the drawer is open by 10 cm. 10-12 are always (1, 0, 0).

    **Action**: `lifelong_rl.envs.arm.controller`; the gripper may be open or closed.

    **Reward**, in [0, 1]:

    ====== ====== ============================================================================
    term   weight value
    ====== ====== ============================================================================
    hook   0.3    1 / (1 + d / 5 cm), d the distance from hand to the hooking point: 2.5 cm
                  behind the bar and 1.2 cm below it
    open   0.7    how far the drawer is open, 1 at 10 cm and beyond
    ====== ====== ============================================================================

    **Success**: the drawer is open by 10 cm or more.

    **Start**: the cabinet stands uniformly in an area of 6 x 24 cm, closed; the hand is uniform
    in a box 12 x 16 x 8 cm above the handle. An episode has 50 control steps
    (2 s) and is only ever truncated.

    **Version**: v0.
    """

    name = "drawer-open"
    horizon = 50
    objects = ("drawer",)
    object_site = "drawer/handle"
    object_joint = "drawer/drawer"
    joint_range = OPEN
    weights: ClassVar[dict[str, float]] = {"hook": 0.3, "open": 0.7}

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the cabinet's place and the hand's."""
        cabinet = uniform(rng, CABINET_LOW, CABINET_HIGH)
        handle = cabinet + HANDLE
        return Start(
            hand=handle + uniform(rng, HAND_LOW, HAND_HIGH),
            goal=handle - np.array([OPEN, 0.0, 0.0]),
            fixture=cabinet,
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return how near the fingers are to hooking the bar, and how far the drawer is open."""
        return {
            "hook": 1.0 / (1.0 + distance(state.hand, state.object + BEHIND) / HALF_DISTANCE),
            "open": clip(state.joint / OPEN, 0.0, 1.0),
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the drawer is open by `OPEN` or more."""
        return state.joint >= OPEN
