"""Experts: for each task a function from states to actions that solves it.

An expert looks at nothing but the current state, so that it can also be asked what to do in
states it would not have brought about, and a policy can in principle equal it.

They have files of their own and are registered under their tasks' names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifelong_rl.envs.robot import Array
from lifelong_rl.registry import EXPERTS

__all__ = ["EXPERTS", "Expert", "get_expert"]

Expert = Callable[[Any], Array]
"""The states of n simulations, as the task's robot tells them, to actions, (n, action_dim)."""


def get_expert(task: str) -> Expert:
    """Return the expert of a task.

    Raises:
        ValueError: if the task has none.
    """
    if task not in EXPERTS:
        raise ValueError(f"the task '{task}' has no expert; those with one: {', '.join(EXPERTS)}")
    expert: Expert = EXPERTS.get(task)
    return expert
