"""Sequences: tasks learned one after another, told apart by a one-hot in the observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from envs.names import lookup
from envs.tasks import get_task

if TYPE_CHECKING:
    from envs.vec_env import BatchVecEnv


@dataclass(frozen=True)
class Sequence:
    """An ordered list of tasks.

    Attributes:
        name: the sequence's name.
        tasks: the tasks' names, in the order they are learned; a name may recur.
        description: one line.
    """

    name: str
    tasks: tuple[str, ...]
    description: str

    @property
    def num_tasks(self) -> int:
        """Number of tasks, and length of the one-hot."""
        return len(self.tasks)

    def make_env(
        self, task_id: int, *, num_envs: int, num_threads: int = 1, seed: int | None = None
    ) -> BatchVecEnv:
        """Return the environments of one task, with the one-hot of length `num_tasks` appended.

        Args:
            task_id: position of the task in the sequence, from 0.
            num_envs: number of environments.
            num_threads: threads that step them; 0 takes every CPU.
            seed: seeds the environments' episodes.

        Raises:
            ValueError: if the sequence has no such task.
        """
        from envs.batch_env import BatchEnv
        from envs.vec_env import BatchVecEnv  # imports Stable-Baselines3, and with it torch

        if not 0 <= task_id < self.num_tasks:
            raise ValueError(
                f"task_id is {task_id}; sequence '{self.name}' has tasks 0 to {self.num_tasks - 1}"
            )
        task = get_task(self.tasks[task_id])
        env = BatchVecEnv(BatchEnv(task, num_envs, num_threads), one_hot=(task_id, self.num_tasks))
        if seed is not None:
            env.seed(seed)
        return env

    def versions(self) -> dict[str, str]:
        """Return the tasks' versions by name."""
        return {name: get_task(name).version for name in self.tasks}


ARM3 = Sequence(
    "arm3",
    ("reach", "drawer-open", "button-press"),
    "three arm skills: reach a point, pull a drawer open, press a button",
)
"""The quickstart sequence."""

SEQUENCES: dict[str, Sequence] = {sequence.name: sequence for sequence in (ARM3,)}
"""Every sequence by name."""


def get_sequence(name: str) -> Sequence:
    """Return the sequence of that name.

    Raises:
        UnknownNameError: if there is none.
    """
    return lookup("sequence", name, SEQUENCES)
