"""The expert of peg-unplug: come down over the handle, close the fingers, pull up."""

from __future__ import annotations

import numpy as np

from lifelong_rl.envs.arm.observation import State, distance
from lifelong_rl.envs.experts.motion import CLOSED, OPEN, UP, from_above, toward, where
from lifelong_rl.envs.robot import Array
from lifelong_rl.registry import EXPERTS

CLEARANCE = 0.05
"""Height above the handle at which the hand crosses over, m."""
OVER = 0.008
"""Horizontal distance from the handle within which the hand comes down, m."""
CLOSE = 0.015
"""Distance from the handle within which open fingers close, m."""
HOLD = 0.03
"""Distance from the handle up to which fingers may slip along it and still hold it, m."""
HELD_LOW, HELD_HIGH = 0.024, 0.029
"""Openings between which closed fingers have the handle between them, m."""
PULL = 0.05
"""How far above the hand a pull aims, m."""


@EXPERTS.register("peg-unplug")
def peg_unplug(state: State) -> Array:
    """Return the expert's actions, (n, 4)."""
    off = distance(state.hand, state.object)
    held = (off < HOLD) & (state.opening > HELD_LOW) & (state.opening < HELD_HIGH)
    approach = from_above(state, state.object, CLEARANCE, OVER)
    gripper = np.where(held | (off < CLOSE), CLOSED, OPEN)
    return toward(state, where(held, state.hand + PULL * UP, approach), gripper)
