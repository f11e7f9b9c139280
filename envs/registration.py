"""Tasks become known by a call, and what is known becomes known to Gymnasium."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium

from lifelong_rl.envs.experts import EXPERTS, Expert
from lifelong_rl.envs.task import Task
from lifelong_rl.envs.tasks import TASKS
from lifelong_rl.errors import UserError


def register_task(task: Task[Any, Any], expert: Expert | None = None) -> None:
    """Make a task known by its name, to sequences, to the commands and to Gymnasium.

    Args:
        task: the task; drawer-open becomes LifelongRL/DrawerOpen-v0 of Gymnasium.
        expert: what solves it; without one there are no demonstrations of it, so that the learners
            that imitate cannot learn it.

    Raises:
        UserError: if another task has the name.
    """
    TASKS.register(task.name)(task)
    if expert is not None:
        EXPERTS.register(task.name)(expert)
    register_environment(task)


def register_environment(task: Task[Any, Any]) -> None:
    """Tell Gymnasium of a task, once."""
    title = "".join(word.capitalize() for word in task.name.split("-"))
    name = f"LifelongRL/{title}-{task.version}"
    if name not in gymnasium.registry:
        gymnasium.register(
            name,
            entry_point="lifelong_rl.envs.gym_env:TaskEnv",
            vector_entry_point="lifelong_rl.envs.gym_vector_env:TaskVectorEnv",
            kwargs={"task": task.name},
        )


def register_environments() -> None:
    """Tell Gymnasium of all tasks; what is broken is warned of and left out."""
    for name in TASKS:
        try:
            register_environment(TASKS[name])
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
    for module, problem in TASKS.broken.items():
        warnings.warn(f"the tasks of {module} cannot be imported: {problem}", stacklevel=2)
