"""How to turn a faucet's lever: down beside the knob, then push along the arc."""

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
from lifelong_rl.envs.tasks.faucet_turn import LENGTH, TURN, pushing_point
from lifelong_rl.registry import EXPERTS

HEIGHT = 0.06
"""Clearance over the pushing point at which the hand crosses the lever, m."""
RADIUS = 0.012
"""Distance from the pushing point, seen from above, at which the hand comes down, m."""
REACH = 0.05
"""Distance from the pushing point, seen from above, up to which a hand behind it pushes, m."""
PUSH = 0.06
"""Distance from the pushing point to where a hand behind the knob aims, m."""
BEYOND = 0.03
"""Way that the hand goes on beyond the angle wanted, m."""


@EXPERTS.register("faucet-turn")
def faucet_turn(state: State) -> Array:
    """Push the knob, coming from above, until the lever is turned, (n, 4)."""
    point = pushing_point(state)
    low = state.hand[:, 2] < state.object[:, 2]
    near = horizontal_distance(state.hand, point) < REACH
    behind = low & near & (ahead(state) < 0.0)
    way = np.clip(LENGTH * (TURN - state.joint) + BEYOND, 0.0, PUSH)
    push = point + way[:, None] * state.object_axis
    return toward(state, where(behind, push, from_above(state, point, HEIGHT, RADIUS)), CLOSED)
