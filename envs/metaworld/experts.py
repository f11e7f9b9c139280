"""Experts of Meta-World's tasks: its scripted policies, of which two are made to wait.

Those of push-back and shelf-place move on before the gripper has closed and lose what they carry:
of 30 episodes of 200 steps they solve 16 and 26, and with a wait all 30.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Expert = Callable[[Array], npt.NDArray[Any]]
"""Meta-World's full observation, (39,), to an action, (4,), which may go beyond [-1, 1]."""

NEAR = 0.04
"""Largest distance of hand and object in the plane for the hand to come down, m."""
ABOVE = np.array([0.0, 0.0, 0.3])
"""From the object to where the hand waits until it is over it, m."""
PUCK_HELD, BLOCK_HELD = 0.6, 0.5
"""Openings of the gripper at which it holds the puck and the block; they stop it at .5 and .38."""


def get_expert(name: str) -> Expert:
    """Return the expert of a task.

    Args:
        name: one of Meta-World's tasks, which is installed.
    """
    if name in WAITING:
        return WAITING[name]
    policy = import_module("metaworld.policies").ENV_POLICY_MAP[name]()

    def act(observation: Array) -> npt.NDArray[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it asks for more than a step of the hand can do
            action: npt.NDArray[Any] = policy.get_action(observation)
        return action

    return act


def push_back(observation: Array) -> Array:
    """Come down on the puck, grip it, and then pull it to the goal along the table."""
    hand, opening, puck, goal = _parts(observation)
    if np.linalg.norm(hand[:2] - puck[:2]) > NEAR:
        target, effort = puck + ABOVE, 0.0
    elif abs(hand[2] - puck[2]) > 0.055:
        target, effort = puck, 0.0
    elif opening > PUCK_HELD:
        target, effort = puck, 0.9
    else:
        target, effort = np.array([goal[0], goal[1], hand[2]]), 0.9
    return np.append(10.0 * (target - hand), effort)


def shelf_place(observation: Array) -> Array:
    """Grip the block, lift it in front of the shelf, and then move it in."""
    hand, opening, block, goal = _parts(observation)
    grip = block + np.array([-0.005, 0.0, 0.015])
    near = np.linalg.norm(hand[:2] - grip[:2]) <= NEAR
    if not near:
        target = grip + ABOVE
    elif abs(hand[2] - grip[2]) > 0.04 or opening > BLOCK_HELD:
        target = grip
    elif abs(hand[0] - goal[0]) > 0.02:
        target = np.array([goal[0], hand[1], 0.3])
    elif hand[2] < 0.3:
        target = hand + ABOVE
    else:
        target = hand + np.array([0.0, 0.05, 0.0])
    effort = 0.7 if near and abs(hand[2] - block[2]) <= 0.15 else -1.0
    return np.append(25.0 * (target - hand), effort)


WAITING: dict[str, Expert] = {"push-back-v3": push_back, "shelf-place-v3": shelf_place}
"""Experts in place of Meta-World's."""


def _parts(observation: Array) -> tuple[Array, float, Array, Array]:
    """Return the hand's position, the gripper's opening, and positions of the object and goal."""
    return observation[:3], float(observation[3]), observation[4:7], observation[36:39]
