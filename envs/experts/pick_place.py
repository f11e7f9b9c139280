"""The expert of pick-place: come down over the knob, close the fingers, carry it to the goal."""

from __future__ import annotations

import numpy as np

from lifelong_rl.envs.arm.observation import State, distance
from lifelong_rl.envs.experts.motion import CLOSED, OPEN, from_above, toward, where
from lifelong_rl.envs.robot import Array
from lifelong_rl.registry import EXPERTS

CLEARANCE = 0.05
"""Height above the knob at which the hand crosses over, m."""
OVER = 0.008
"""Horizontal distance from the knob within which the hand comes down, m."""
CLOSE = 0.015
"""Distance from the knob within which open fingers close, m."""
HOLD = 0.03
"""Distance from the knob up to which fingers may slip along it and still hold it, m."""
HELD_LOW, HELD_HIGH = 0.034, 0.039
"""Openings between which closed fingers have the knob between them, m."""


@EXPERTS.register("pick-place")
def pick_place(state: State) -> Array:
    """Return the expert's actions, (n, 4)."""
    off = distance(state.hand, state.object)
    held = (off < HOLD) & (state.opening > HELD_LOW) & (state.opening < HELD_HIGH)
    approach = from_above(state, state.object, CLEARANCE, OVER)
    carry = state.hand + state.goal - state.object
    gripper = np.where(held | (off < CLOSE), CLOSED, OPEN)
    return toward(state, where(held, carry, approach), gripper)
