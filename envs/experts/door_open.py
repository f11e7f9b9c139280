"""How to open a door: down behind the bar, then pull along the arc."""

from __future__ import annotations

import math

import numpy as np

from lifelong_rl.envs.arm.observation import State
from lifelong_rl.envs.experts.motion import (
    CLOSED,
    UP,
    ahead,
    from_above,
    horizontal_distance,
    toward,
    where,
)
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.tasks.door_open import HANDLE, OPEN, hooking_point
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
"""Way that the hand goes on beyond the angle wanted, m."""
LENGTH = math.hypot(HANDLE[0], HANDLE[1])
"""Distance of the handle from the hinge, m."""


@EXPERTS.register("door-open")
def door_open(state: State) -> Array:
    """Hook the fingers behind the bar from above, and pull until the door is open, (n, 4)."""
    hook = hooking_point(state)
    low = state.hand[:, 2] < state.object[:, 2]
    near = horizontal_distance(state.hand, hook) < REACH
    hooked = low & near & (ahead(state) > 0.0)
    way = np.clip(LENGTH * (OPEN - state.joint) + BEYOND, 0.0, PULL)
    pull = hook + way[:, None] * opening_direction(state)
    return toward(state, where(hooked, pull, from_above(state, hook, HEIGHT, RADIUS)), CLOSED)


def opening_direction(state: State) -> Array:
    """Return where the handle goes as the door opens, at a right angle to the hinge, (n, 3)."""
    normal = state.object_axis
    left = np.cross(UP, normal)
    direction: Array = (HANDLE[1] * normal - HANDLE[0] * left) / LENGTH
    return direction
