"""Experts: for each task a function from states to actions that solves it.

An expert looks at nothing but the current state, so that it can also be asked what to do in
states it would not have brought about, and a policy can in principle equal it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifelong_rl.envs.experts.button_press import button_press
from lifelong_rl.envs.experts.door_open import door_open
from lifelong_rl.envs.experts.drawer_close import drawer_close
from lifelong_rl.envs.experts.drawer_open import drawer_open
from lifelong_rl.envs.experts.faucet_turn import faucet_turn
from lifelong_rl.envs.experts.peg_unplug import peg_unplug
from lifelong_rl.envs.experts.pick_place import pick_place
from lifelong_rl.envs.experts.push import push
from lifelong_rl.envs.experts.reach import reach
from lifelong_rl.envs.experts.valve import VALVE_EXPERTS
from lifelong_rl.envs.experts.window_slide import window_slide
from lifelong_rl.envs.robot import Array

Expert = Callable[[Any], Array]
"""The states of n simulations, as the task's robot tells them, to actions, (n, action_dim)."""

EXPERTS: dict[str, Expert] = {
    "reach": reach,
    "button-press": button_press,
    "drawer-open": drawer_open,
    "drawer-close": drawer_close,
    "door-open": door_open,
    "faucet-turn": faucet_turn,
    "window-slide": window_slide,
    "push": push,
    "pick-place": pick_place,
    "peg-unplug": peg_unplug,
    **VALVE_EXPERTS,
}
"""The expert of every task by the task's name."""


def get_expert(task: str) -> Expert:
    """Return the expert of a task.

    Raises:
        ValueError: if the task has none.
    """
    if task not in EXPERTS:
        raise ValueError(f"the task '{task}' has no expert; those with one: {', '.join(EXPERTS)}")
    return EXPERTS[task]
