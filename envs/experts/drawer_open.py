"""How to open a drawer: down behind the bar, then pull."""

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
from lifelong_rl.envs.tasks.drawer_open import BEHIND, OPEN
from lifelong_rl.registry import EXPERTS

HEIGHT = 0.06
"""Clearance over the hooking point at which the hand crosses the bar, m."""
RADIUS = 0.012
"""Distance from the hooking point, seen from above, at which the hand comes down, m."""
REACH = 0.05
"""Distance from the hooking point, seen from above, up to which a hooked hand pulls, m."""
PULL = 0.06
"""Distance from the hooking point to where a hooked hand aims, m."""
BEYOND = 0.02
"""Way that the hand goes on beyond the opening wanted, m."""


@EXPERTS.register("drawer-open")
def drawer_open(state: State) -> Array:
    """Hook the fingers behind the bar from above, and pull until the drawer is open, (n, 4)."""
    hook = state.object + BEHIND
    low = state.hand[:, 2] < state.object[:, 2]
    near = horizontal_distance(state.hand, hook) < REACH
    hooked = low & near & (ahead(state) > 0.0)
    way = np.clip(OPEN + BEYOND - state.joint, 0.0, PULL)
    pull = hook - way[:, None] * state.object_axis
    return toward(state, where(hooked, pull, from_above(state, hook, HEIGHT, RADIUS)), CLOSED)
