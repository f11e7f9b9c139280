"""Pick-place: lift a weight by its knob and carry it to a goal in the air."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lifelong_rl.envs.arm.observation import MAX_OPENING, State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import uniform
from lifelong_rl.registry import TASKS

KNOB_HEIGHT = 0.04189
"""Height of the knob's middle when the weight rests on the table, m; its pads give under it by
0.11 mm."""
WEIGHT_LOW = np.array([0.44, -0.12, KNOB_HEIGHT])
WEIGHT_HIGH = np.array([0.56, 0.12, KNOB_HEIGHT])
"""Corners of the area the weight starts in, m."""
HAND_LOW, HAND_HIGH = np.array([-0.03, -0.03, 0.04]), np.array([0.03, 0.03, 0.08])
"""Corners of the box the hand starts in, from the knob, m."""
GOAL_LOW, GOAL_HIGH = np.array([-0.08, -0.10, 0.08]), np.array([0.08, 0.10, 0.14])
"""Corners of the box the goal lies in, from the knob, m."""
KNOB_WIDTH = 0.036
"""Opening of a gripper that holds the knob, m."""
LIFTED = 0.04
"""Height above the table at which the lift term is 1, m."""
RADIUS = 0.03
"""Distance at which the goal counts as reached, m."""
HALF_DISTANCE = 0.05
"""Distance at which the reach term is one half, m."""
GRASP_RADIUS = 0.0125
"""Distance from hand to knob within which closing the gripper counts, m; from there to twice as
far it counts less and less. Closed fingers that rest on top of the knob, 2.9 cm from it, gain
nothing: that would be a trap."""
PLACE_HALF_DISTANCE = 0.03
"""Distance from knob to goal at which the place term of a lifted weight is one half, m."""


@TASKS.register("pick-place")
class PickPlace(ArmTask):
    """Lift a weight by its knob and carry it to a goal in the air.

    The open gripper, which it starts with, fits over the knob; only the friction of closed
    fingers holds the weight.

    **Observation** (the shared layout, `lifelong_rl.envs.arm.observation`): the object is the
    middle of the knob, and the goal is where that is to end. 13 is always 0.

    **Action**: `lifelong_rl.envs.arm.controller`; the gripper has to be open on the way down and
    closed from there on.

    **Reward**, in [0, 1]:

    ====== ====== ============================================================================
    term   weight value
    ====== ====== ============================================================================
    reach  0.15   1 / (1 + d / 5 cm), d the distance from hand to knob
    grasp  0.15   how far the gripper is closed, 1 at the knob's width, times how near it is:
                  1 up to d = 1.25 cm, from there less and less to 0 at 2.5 cm
    lift   0.2    how far the weight is off the table, 1 at 4 cm and beyond
    place  0.5    the lift term / (1 + e / 3 cm), e the distance from knob to goal
    ====== ====== ============================================================================

    **Success**: e < 3 cm; goals lie so high that the weight is then 5 cm or more above the table.

    **Start**: the weight rests uniformly in an area of 12 x 24 cm; the goal is uniform in a box
    16 x 20 x 6 cm above the knob, at least 8 cm over it; the hand is uniform in a box
    6 x 6 x 4 cm above the knob, at least 4 cm over it, its gripper open. An episode has 50
    control steps (2 s) and is only ever truncated. A weight that is dropped or knocked over
    stays where it falls.

    **Version**: v0.
    """

    name = "pick-place"
    horizon = 50
    objects = ("weight",)
    object_site = "weight/knob"
    weights: ClassVar[dict[str, float]] = {"reach": 0.15, "grasp": 0.15, "lift": 0.2, "place": 0.5}
    goal_rgba = (0.10, 0.75, 0.30, 0.85)

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the weight's place, the goal's and the hand's."""
        weight = uniform(rng, WEIGHT_LOW, WEIGHT_HIGH)
        return Start(
            hand=weight + uniform(rng, HAND_LOW, HAND_HIGH),
            goal=weight + uniform(rng, GOAL_LOW, GOAL_HIGH),
            opening=MAX_OPENING,
            qpos={"weight/weight": np.array([*weight, 1.0, 0.0, 0.0, 0.0])},
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return how far the skill's four stages have come."""
        reach = distance(state.hand, state.object)
        near = clip(2.0 - reach / GRASP_RADIUS, 0.0, 1.0)
        closed = clip((MAX_OPENING - state.opening) / (MAX_OPENING - KNOB_WIDTH), 0.0, 1.0)
        lift = clip((state.object[:, 2] - KNOB_HEIGHT) / LIFTED, 0.0, 1.0)
        place = 1.0 / (1.0 + distance(state.object, state.goal) / PLACE_HALF_DISTANCE)
        return {
            "reach": 1.0 / (1.0 + reach / HALF_DISTANCE),
            "grasp": near * closed,
            "lift": lift,
            "place": lift * place,
        }

    def success(self, state: State) -> np.ndarray:
        """Return whether the knob is within `RADIUS` of the goal."""
        return distance(state.object, state.goal) < RADIUS
