"""Tasks from outside: registered by a call, or found as entry points of installed packages."""

from __future__ import annotations

import warnings
from importlib.metadata import entry_points
from typing import Any

import gymnasium

from lifelong_rl.envs.experts import EXPERTS, Expert
from lifelong_rl.envs.task import Task
from lifelong_rl.envs.tasks import TASKS
from lifelong_rl.former_names import explain_import_error

ENTRY_POINTS = "lifelong_rl.tasks"
"""The group of entry points whose modules register tasks."""


def register_task(task: Task[Any, Any], expert: Expert | None = None) -> None:
    """Make a task known by its name, to sequences, to the commands and to Gymnasium.

    Args:
        task: the task; drawer-open becomes LifelongRL/DrawerOpen-v0 of Gymnasium.
        expert: what solves it; without one there are no demonstrations of it, so that the learners
            that imitate cannot learn it.

    Raises:
        ValueError: if another task has the name.
    """
    known = TASKS.get(task.name)
    if known is not None and type(known) is not type(task):
        raise ValueError(f"the task name '{task.name}' is already taken")
    TASKS[task.name] = task
    if expert is not None:
        EXPERTS[task.name] = expert
    if known is None:
        register_environment(task)


def register_environment(task: Task[Any, Any]) -> None:
    """Tell Gymnasium of a task."""
    title = "".join(word.capitalize() for word in task.name.split("-"))
    gymnasium.register(
        f"LifelongRL/{title}-{task.version}",
        entry_point="lifelong_rl.envs.gym_env:TaskEnv",
        kwargs={"task": task.name},
    )


def import_entry_points() -> None:
    """Import what installed packages offer as tasks; a broken one is warned of and left out."""
    for point in entry_points(group=ENTRY_POINTS):
        try:
            point.load()
        except Exception as error:
            warnings.warn(
                f"the task '{point.name}' ({point.value}) cannot be imported: {error}"
                + explain_import_error(error),
                stacklevel=2,
            )
