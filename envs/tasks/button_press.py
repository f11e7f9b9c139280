"""Button-press: press a spring-loaded button down."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import MAX_OPENING, State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

BOX_LOW, BOX_HIGH = np.array([0.42, -0.16, 0.0]), np.array([0.60, 0.16, 0.0])
"""Corners of the area the box stands in, m."""
BUTTON = np.array([0.0, 0.0, 0.112])
"""Top of the button at rest, from the box's position, m."""
HAND_LOW, HAND_HIGH = np.array([-0.12, -0.14, 0.08]), np.array([0.08, 0.14, 0.20])
"""Corners of the box the hand starts in, from the top of the button, m."""
PRESSED = 0.022
"""Travel at which the button counts as pressed, m."""
HALF_DISTANCE = 0.05
"""Distance at which the touch term is one half, m."""


@TASKS.register("button-press")
class ButtonPress(ArmTask):
    """Press a slender spring-loaded button down with closed fingers.

    The button is narrower than the open gripper, which starts open: the fingers would pass on
    either side of it and land on the box, so they have to close before the hand comes down.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the
    middle of the button's upper face, 13 is how far it is pressed (1: 2.2 cm), and the goal is
    where the face is when the button is pressed by 2.2 cm. 10-12 are always (1, 0, 0).

    **Action**: `lifelong_rl.envs.arm.controller`; the gripper has to be closed to within some 3 cm.

    **Reward**, in [0, 1]:

    ====== ====== ============================================================================
    term   weight value
    ====== ====== ============================================================================
    touch  0.4    1 / (1 + d / 5 cm), d the distance from hand to the button's upper face
    press  0.6    how far the button is pressed, 1 at 2.2 cm and beyond
    ====== ====== ============================================================================

    **Success**: the button is pressed by 2.2 cm or more; the spring (250 N/m) holds against it.

    **Start**: the box stands uniformly in an area of 18 x 32 cm; the hand is uniform in a box
    20 x 28 x 12 cm above the button, at least 8 cm over it, its gripper open. An
    episode has 50 control steps (2 s) and is only ever truncated.

    **Version**: v0.
    """

    name = "button-press"
    horizon = 50
    objects = ("button",)
    object_site = "button/button"
    object_joint = "button/button"
    joint_range = PRESSED
    weights: ClassVar[dict[str, float]] = {"touch": 0.4, "press": 0.6}

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the box's place and the hand's."""
        box = uniform(rng, BOX_LOW, BOX_HIGH)
        button = box + BUTTON
        return Start(
            hand=button + uniform(rng, HAND_LOW, HAND_HIGH),
            goal=button - np.array([0.0, 0.0, PRESSED]),
            opening=MAX_OPENING,
            fixture=box,
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return how near the hand is to the button, and how far the button is pressed."""
        return {
            "touch": 1.0 / (1.0 + distance(state.hand, state.object) / HALF_DISTANCE),
            "press": clip(state.joint / PRESSED, 0.0, 1.0),
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the button is pressed by `PRESSED` or more."""
        return state.joint >= PRESSED
