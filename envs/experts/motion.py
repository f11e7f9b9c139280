"""Motions that the arm's experts are made of: actions for all rows at once, from states alone."""

from __future__ import annotations

import numpy as np

from lifelong_rl.envs.arm.controller import STEP
from lifelong_rl.envs.arm.observation import State
from lifelong_rl.envs.robot import Array

OPEN, CLOSED = 1.0, -1.0
"""Gripper entries of the action."""
SPEED = 0.5
"""Largest displacement entry of an unhurried action: some 1.5 cm per control step."""
SLOPE = 4.0
"""Rise of the way in `from_above` per metre of horizontal distance."""
LAG = 0.03
"""Height under that slope at which a hand only rises, m."""
UP = np.array([0.0, 0.0, 1.0])
"""The world's z axis."""


def toward(state: State, target: Array, gripper: Array | float, speed: float = SPEED) -> Array:
    """Return the actions that move hands straight towards points, slower when near, (n, 4).

    Args:
        state: where the hands are.
        target: the points, (n, 3), m.
        gripper: gripper entry of the action, in [-1, 1], a number or (n,).
        speed: bound of each displacement entry, in (0, 1].
    """
    way = (target - state.hand) / STEP
    largest = np.abs(way).max(axis=1, keepdims=True)
    actions = np.empty((len(way), 4))
    actions[:, :3] = way * np.minimum(1.0, speed / np.maximum(largest, speed))
    actions[:, 3] = gripper
    return actions


def from_above(state: State, target: Array, height: float, radius: float) -> Array:
    """Return points to aim at so that hands come down on targets from above, (n, 3), m.

    Over the target the point is the target itself; beyond `radius` it rises, as steeply as a
    wall, up to `height` above it. So a hand that is low and elsewhere first rises, then crosses
    over, then comes down, without remembering which of these it is at.

    Args:
        state: where the hands are.
        target: where the hands are to end, (n, 3), m.
        height: clearance above the target while crossing over, m.
        radius: horizontal distance from the target at which a hand may come down, m.
    """
    off = horizontal_distance(state.hand, target)
    clearance = np.clip(SLOPE * (off - radius), 0.0, height)
    point = target + clearance[:, None] * UP
    # below the slope, rise before crossing over
    too_low = np.clip((point[:, 2] - state.hand[:, 2]) / LAG, 0.0, 1.0)[:, None]
    stay = state.hand + (point - state.hand) * UP
    aim: Array = point + too_low * (stay - point)
    return aim


def horizontal_distance(a: Array, b: Array) -> Array:
    """Return the distance between points seen from above, (n, 3) and (n, 3) → (n,), m."""
    d = a - b
    return np.sqrt(d[:, 0] * d[:, 0] + d[:, 1] * d[:, 1])


def where(condition: np.ndarray, then: Array, otherwise: Array) -> Array:
    """Return the rows of one array where a condition, (n,), holds, and another's elsewhere."""
    return np.where(condition[:, None], then, otherwise)


def ahead(state: State) -> Array:
    """Return how far hands are ahead of objects, along the objects' x axes, (n,), m."""
    d = (state.hand - state.object) * state.object_axis
    return d[:, 0] + d[:, 1] + d[:, 2]
