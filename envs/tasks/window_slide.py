"""Window-slide: slide a window's pane sideways by its handle."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

WINDOW_LOW, WINDOW_HIGH = np.array([0.56, -0.12, 0.0]), np.array([0.63, 0.08, 0.0])
"""Corners of the area the middle of the window's sill stands in, m."""
YAW_LOW, YAW_HIGH = 0.2, 0.7
"""Least and greatest turn of the window about the vertical, rad."""
HANDLE = np.array([-0.049, 0.094, 0.171])
"""Handle of the shut pane in the window's frame, m."""
HAND_LOW, HAND_HIGH = np.array([-0.08, -0.06, 0.05]), np.array([0.06, 0.10, 0.12])
"""Corners of the box the hand starts in, from the shut pane's handle, m."""
SLID = 0.12
"""Way by which the pane counts as slid open, m."""
BEHIND, BELOW = 0.03, 0.008
"""Where the fingers push, from the handle: on the side it slides away from, and below, m."""
HALF_DISTANCE = 0.05
"""Distance at which the touch term is one half, m."""


@TASKS.register("window-slide")
class WindowSlide(ArmTask):
    """Slide a window's pane sideways by its handle.

    The fingers have to come down on the far side of the handle's post and push it along the
    frame, which stands askew; nothing but contact moves the pane.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the
    handle on the pane, 13 is how far the pane has slid (1: 12 cm), and the goal is where the handle
    is when the pane has slid by 12 cm. 10-12 are the direction in which the pane slides. Always the
    same are the heights of the object (9) and the goal (19), and what follows from them: 12, 16 and
    25.

    **Action**: `lifelong_rl.envs.arm.controller`; closed fingers push best, wide open ones straddle
    the post.

    **Reward**, in [0, 1]:

    ====== ====== ============================================================================
    term   weight value
    ====== ====== ============================================================================
    touch  0.3    1 / (1 + d / 5 cm), d the distance from hand to the pushing point: 3 cm from
                  the handle, against the way it slides, and 0.8 cm below it
    slide  0.7    how far the pane has slid, 1 at 12 cm and beyond
    ====== ====== ============================================================================

    **Success**: the pane has slid by 12 cm or more.

    **Start**: the window stands uniformly in an area of 7 x 20 cm, turned by 0.2 to 0.7 rad
    towards the arm's right, shut; the hand is uniform in a box 14 x 16 x 7 cm above the handle.
    An episode has 50 control steps (2 s) and is only ever truncated.

    **Version**: v0.
    """

    name = "window-slide"
    horizon = 50
    objects = ("window",)
    object_site = "window/handle"
    object_joint = "window/pane"
    joint_range = SLID
    weights: ClassVar[dict[str, float]] = {"touch": 0.3, "slide": 0.7}

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the window's place and turn, and the hand's place."""
        window = uniform(rng, WINDOW_LOW, WINDOW_HIGH)
        yaw = rng.uniform(YAW_LOW, YAW_HIGH)
        c, s = math.cos(yaw), math.sin(yaw)
        handle = window + np.array(
            [c * HANDLE[0] - s * HANDLE[1], s * HANDLE[0] + c * HANDLE[1], HANDLE[2]]
        )
        return Start(
            hand=handle + uniform(rng, HAND_LOW, HAND_HIGH),
            goal=handle + SLID * np.array([s, -c, 0.0]),
            fixture=window,
            yaw=yaw,
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return how near the fingers are to the pushing point, and how far the pane has slid."""
        return {
            "touch": 1.0 / (1.0 + distance(state.hand, pushing_point(state)) / HALF_DISTANCE),
            "slide": clip(state.joint / SLID, 0.0, 1.0),
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the pane has slid by `SLID` or more."""
        return state.joint >= SLID


def pushing_point(state: State) -> Array:
    """Return where the fingers push from, behind the handle and a little below, (n, 3), m."""
    point: Array = state.object - BEHIND * state.object_axis - np.array([0.0, 0.0, BELOW])
    return point
