"""How to close a drawer: down in front of the bar, then push."""

from __future__ import annotations

import numpy as np

from lifelong_rl.envs.arm.observation import State
from lifelong_rl.envs.experts.motion import (
    CLOSED,
    ahead,
    from_above,
    horizontal_distance,
    toward,
    where,
)
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.tasks.drawer_close import pushing_point
from lifelong_rl.registry import EXPERTS

HEIGHT = 0.06
"""Clearance over the pushing point at which the hand crosses the bar, m."""
RADIUS = 0.012
"""Distance from the pushing point, seen from above, at which the hand comes down, m."""
REACH = 0.05
"""Distance from the pushing point, seen from above, up to which a hand in front pushes, m."""
PUSH = 0.06
"""Distance from the pushing point to where a hand in front aims, m."""
BEYOND = 0.02
"""How far beyond the closed handle's pushing point the hand aims, m."""


@EXPERTS.register("drawer-close")
def drawer_close(state: State) -> Array:
    """Push the bar, coming from above, until the drawer is closed, (n, 4)."""
    point = pushing_point(state)
    low = state.hand[:, 2] < state.object[:, 2]
    near = horizontal_distance(state.hand, point) < REACH
    in_front = low & near & (ahead(state) < 0.0)
    way = np.clip(state.joint + BEYOND, 0.0, PUSH)
    push = point + way[:, None] * state.object_axis
    return toward(state, where(in_front, push, from_above(state, point, HEIGHT, RADIUS)), CLOSED)
