"""A task from outside: hold the hand still above a puck."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lifelong_rl import envs
from lifelong_rl.envs.arm.observation import MAX_OPENING, State, distance
from lifelong_rl.envs.arm.task import ArmTask, Start
from lifelong_rl.envs.experts.motion import OPEN, toward
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.task import uniform

PUCK_LOW, PUCK_HIGH = np.array([0.43, -0.10, 0.01589]), np.array([0.55, 0.10, 0.01589])
ABOVE = np.array([0.0, 0.0, 0.12])
RADIUS = 0.03


class Hover(ArmTask):
    """Hold the hand above a puck.

    **Reward**, in [0, 1]: 1 / (1 + d / 5 cm), d the distance from the hand to the point 12 cm above
    the puck. **Success**: d < 3 cm.
    """

    name = "hover"
    horizon = 50
    objects = ("puck",)
    object_site = "puck/puck"
    weights: ClassVar[dict[str, float]] = {"proximity": 1.0}

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the puck's place and the hand's, beside and above it."""
        puck = uniform(rng, PUCK_LOW, PUCK_HIGH)
        hand = puck + uniform(rng, np.array([-0.12, -0.08, 0.05]), np.array([-0.06, 0.08, 0.15]))
        return Start(
            hand=hand,
            goal=puck + ABOVE,
            opening=MAX_OPENING,
            qpos={"puck/puck": np.array([*puck, 1.0, 0.0, 0.0, 0.0])},
        )

    def reward_terms(self, state: State) -> dict[str, Array]:
        """Each term before weighting, (n,)."""
        return {"proximity": 1.0 / (1.0 + distance(state.hand, state.object + ABOVE) / 0.05)}

    def success(self, state: State) -> np.ndarray:
        """Whether each row's hand is there, (n,) bool."""
        return distance(state.hand, state.object + ABOVE) < RADIUS


def expert(state: State) -> Array:
    """Actions (n, 4) that solve the task, from the state alone."""
    return toward(state, state.object + ABOVE, OPEN)


envs.register_task(Hover(), expert)
