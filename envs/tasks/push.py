"""Push: push a puck along the table to a goal ahead of it."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import MAX_OPENING, State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

PUCK_LOW, PUCK_HIGH = np.array([0.43, -0.10, 0.01589]), np.array([0.50, 0.10, 0.01589])
"""Corners of the area the puck's middle starts in, m; at this height it rests on the table, which
gives under its weight by 0.11 mm."""
HAND_LOW, HAND_HIGH = np.array([-0.13, -0.04, 0.01]), np.array([-0.09, 0.04, 0.08])
"""Corners of the box the hand starts in, from the puck's middle, m."""
GOAL_DISTANCE = 0.15
"""Distance from the puck to the goal, m."""
GOAL_ANGLE = 0.3
"""Largest angle between the way to the goal and straight ahead, rad."""
RADIUS = 0.03
"""Distance at which the goal counts as reached, m."""
BEHIND = np.array([-0.05, 0.0, 0.012])
"""Where the hand pushes from, from the puck's middle: behind the rim, fingers low, m."""
HALF_DISTANCE = 0.05
"""Distance at which the behind term is one half, m."""


@TASKS.register("push")
class Push(ArmTask):
    """Push a puck along the table to a goal ahead of it.

    The puck is wider than the open gripper, which starts open: with the puck's rim between the
    fingers the hand can steer, while closed fingers let the puck slip off to one side. The puck
    glides on for a moment when the hand stops, and nothing pulls it back.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the
    middle of the puck, and the goal is where that is to end. 13 and 19 are always 0 and -0.92, and
    9 and 12 change only while the puck is tipped.

    **Action**: `lifelong_rl.envs.arm.controller`; the gripper should stay open.

    **Reward**, in [0, 1]:

    ====== ====== ============================================================================
    term   weight value
    ====== ====== ============================================================================
    behind 0.3    1 / (1 + d / 5 cm), d the distance from hand to the pushing point: 5 cm
                  behind the puck's middle and 1.2 cm above it
    push   0.7    share of the 15 cm to the goal that the puck has come nearer to it
    ====== ====== ============================================================================

    **Success**: the puck's middle is within 3 cm of the goal, so it was pushed by 12 cm or more.

    **Start**: the puck rests uniformly in an area of 7 x 20 cm; the goal is 15 cm from it, in a
    direction uniform within 0.3 rad of straight ahead; the hand is uniform in a box 4 x 8 x 7 cm
    behind the puck, its gripper open. An episode has 50 control steps (2 s) and is only ever
    truncated. A puck that is pushed out of reach stays there.

    **Version**: v0.
    """

    name = "push"
    horizon = 50
    objects = ("puck",)
    object_site = "puck/puck"
    weights: ClassVar[dict[str, float]] = {"behind": 0.3, "push": 0.7}
    goal_rgba = (0.10, 0.75, 0.30, 0.85)

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the puck's place, the goal's direction and the hand's place."""
        puck = uniform(rng, PUCK_LOW, PUCK_HIGH)
        angle = GOAL_ANGLE * (2.0 * rng.random() - 1.0)
        ahead = np.array([math.cos(angle), math.sin(angle), 0.0])
        return Start(
            hand=puck + uniform(rng, HAND_LOW, HAND_HIGH),
            goal=puck + GOAL_DISTANCE * ahead,
            opening=MAX_OPENING,
            qpos={"puck/puck": np.array([*puck, 1.0, 0.0, 0.0, 0.0])},
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return how near the hand is to the pushing point, and how far the puck has come."""
        way = distance(state.object, state.goal) / GOAL_DISTANCE
        return {
            "behind": 1.0 / (1.0 + distance(state.hand, state.object + BEHIND) / HALF_DISTANCE),
            "push": clip(1.0 - way, 0.0, 1.0),
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the puck is within `RADIUS` of the goal."""
        return distance(state.object, state.goal) < RADIUS
