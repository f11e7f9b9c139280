"""The tasks, one file each."""

from __future__ import annotations

from typing import Any

from envs.names import lookup
from envs.task import Task
from envs.tasks.button_press import ButtonPress
from envs.tasks.drawer_open import DrawerOpen
from envs.tasks.reach import Reach

TASKS: dict[str, Task[Any, Any]] = {
    task.name: task for task in (Reach(), DrawerOpen(), ButtonPress())
}
"""Every task by name."""


def get_task(name: str) -> Task[Any, Any]:
    """Return the task of that name.

    Raises:
        UnknownNameError: if there is none.
    """
    return lookup("task", name, TASKS)
