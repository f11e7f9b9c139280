"""The tasks, one file each: what a file here registers is found by its name."""

from __future__ import annotations

from typing import Any

from lifelong_rl.envs.task import Task
from lifelong_rl.registry import TASKS

__all__ = ["TASKS", "get_task"]


def get_task(name: str) -> Task[Any, Any]:
    """Return the task of that name.

    Raises:
        UnknownNameError: if there is none.
    """
    task: Task[Any, Any] = TASKS.get(name)
    return task
