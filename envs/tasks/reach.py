"""Reach: bring the hand to a point in the air."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

HAND_LOW, HAND_HIGH = np.array([0.40, -0.20, 0.14]), np.array([0.60, 0.20, 0.32])
"""Corners of the box the hand starts in, m."""
GOAL_LOW, GOAL_HIGH = np.array([0.36, -0.24, 0.06]), np.array([0.64, 0.24, 0.36])
"""Corners of the box the goal lies in, m."""
MIN_DISTANCE = 0.08
"""Smallest distance between hand and goal at the start, m."""
RADIUS = 0.025
"""Distance at which the goal counts as reached, m."""
HALF_DISTANCE = 0.05
"""Distance at which the proximity term is one half, m."""


@TASKS.register("reach")
class Reach(ArmTask):
    """Bring the hand to a marked point in the air.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the hand
    itself, so entries 7-9 and 14-16 repeat the hand's position and velocity, 10-12 are the hand's x
    axis, 13 and 20-22 are always 0, and 23-25 lead from the hand to the goal.

    **Action**: `lifelong_rl.envs.arm.controller`; the gripper plays no part.

    **Reward**, in [0, 1]:

    ========= ====== =====================================================
    term      weight value
    ========= ====== =====================================================
    proximity 1      1 / (1 + d / 5 cm), d the distance from hand to goal
    ========= ====== =====================================================

    **Success**: d < 2.5 cm.

    **Start**: the hand is uniform in a box 20 x 40 x 18 cm, the goal in one 28 x 48 x 30 cm, at
    least 8 cm apart (a goal drawn closer is moved away from the hand along the line between
    them). An episode has 50 control steps (2 s) and is only ever truncated.

    **In pictures** the goal is a ball of radius 4 cm. No single camera tells where it is: `front`
    does not see how far away, `wrist` sees it only from nearby. `front` and `across` together do.

    **Version**: v0.
    """

    name = "reach"
    horizon = 50
    object_site = "arm/hand"
    weights: ClassVar[dict[str, float]] = {"proximity": 1.0}
    goal_rgba = (0.10, 0.75, 0.30, 0.85)
    goal_size = 0.04  # a ball of 2 cm is three pixels wide at 64x64

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw hand and goal, at least `MIN_DISTANCE` apart."""
        hand = uniform(rng, HAND_LOW, HAND_HIGH)
        way = uniform(rng, GOAL_LOW, GOAL_HIGH) - hand
        return Start(hand=hand, goal=hand + way * max(1.0, MIN_DISTANCE / math.hypot(*way)))

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return the proximity of hand and goal."""
        return {"proximity": 1.0 / (1.0 + distance(state.hand, state.goal) / HALF_DISTANCE)}

    def success(self, state: State) -> np.ndarray:
        """Return whether the hand is within `RADIUS` of the goal."""
        return distance(state.hand, state.goal) < RADIUS
