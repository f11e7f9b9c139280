"""How to press a button: close the fingers over it, then down."""

from __future__ import annotations

import numpy as np

from lifelong_rl.envs.arm.observation import State
from lifelong_rl.envs.experts.motion import CLOSED, UP, from_above, toward, where
from lifelong_rl.envs.robot import Array
from lifelong_rl.registry import EXPERTS

HEIGHT = 0.05
"""Clearance over the button while the hand crosses over to it or its fingers still close, m."""
RADIUS = 0.008
"""Distance from the button's axis at which the hand comes down, m."""
NARROW = 0.015
"""Gripper opening up to which both fingers meet the button, m."""
BELOW = 0.015
"""How far below the pressed button the hand aims, so that it overcomes the spring, m."""


@EXPERTS.register("button-press")
def button_press(state: State) -> Array:
    """Press with closed fingers, coming from above, (n, 4)."""
    pressed = from_above(state, state.goal - BELOW * UP, HEIGHT, RADIUS)
    hover = from_above(state, state.object + HEIGHT * UP, HEIGHT, np.inf)
    return toward(state, where(state.opening < NARROW, pressed, hover), CLOSED)
