"""How to reach: straight to the goal."""

from __future__ import annotations

from lifelong_rl.envs.arm.observation import State
from lifelong_rl.envs.experts.motion import CLOSED, toward
from lifelong_rl.envs.robot import Array
from lifelong_rl.registry import EXPERTS


@EXPERTS.register("reach")
def reach(state: State) -> Array:
    """Move straight to the goal, (n, 4)."""
    return toward(state, state.goal, CLOSED)
