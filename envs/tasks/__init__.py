"""The tasks, one file each."""

from __future__ import annotations

from envs.names import lookup
from envs.task import Task
from envs.tasks.button_press import ButtonPress
from envs.tasks.drawer_open import DrawerOpen
from envs.tasks.reach import Reach

TASKS: dict[str, type[Task]] = {task.name: task for task in (Reach, DrawerOpen, ButtonPress)}
"""Every task by name."""


def make_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        UnknownNameError: if there is none.
    """
    return lookup("task", name, TASKS)()
