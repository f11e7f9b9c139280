"""Sequences: tasks learned one after another, told apart by a one-hot in the observation.

All tasks of a sequence share one observation and one action space.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Unpack

import numpy as np

from lifelong_rl.compatibility import Trait
from lifelong_rl.envs.datasets import Store, make_anew
from lifelong_rl.envs.tasks import TASKS, get_task
from lifelong_rl.envs.tasks.valve import MORE_VALVES, VALVES
from lifelong_rl.errors import UnknownNameError
from lifelong_rl.registry import EXPERTS, SEQUENCE_MAKERS, SEQUENCES

if TYPE_CHECKING:
    from lifelong_rl.envs.pixels import PixelOptions
    from lifelong_rl.envs.vec_env import BatchVecEnv, JointVecEnv


@dataclass(frozen=True)
class Sequence:
    """An ordered list of tasks.

    Attributes:
        name: the sequence's name.
        tasks: the tasks' names, in the order they are learned; a name may recur.
        description: one line.
        steps_per_task: environment steps of each task, unless the user gives another number.
            Default SAC, alone and with three seeds, learns each task within them but two: after
            20 000 pick-place succeeds at 0.12 to 0.78, and is learned after 22 500 to 75 000
            (docs/tasks.md); push, learned after 12 500 to 17 500, has little to spare.
        store: has or makes the demonstrations of its tasks.

    Raises:
        ValueError: if there is no task, or not all have the same observation and action space.
        UnknownNameError: if a task does not exist.
    """

    name: str
    tasks: tuple[str, ...]
    description: str
    steps_per_task: int = 10_000
    store: Store = field(default=make_anew, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check that the tasks exist and share their spaces."""
        layouts = [(get_task(name).layout, get_task(name).action_dim) for name in self.tasks]
        if not layouts:
            raise ValueError(f"sequence '{self.name}' has no tasks")
        for name, layout in zip(self.tasks, layouts, strict=True):
            if layout != layouts[0]:
                raise ValueError(
                    f"'{self.tasks[0]}' and '{name}' cannot be in one sequence: they are tasks of "
                    "different robots"
                )

    @property
    def num_tasks(self) -> int:
        """Number of tasks, and length of the one-hot."""
        return len(self.tasks)

    @property
    def offers(self) -> tuple[Trait, ...]:
        """What agents can learn of it: see `lifelong_rl.compatibility`."""
        by_experts: tuple[Trait, ...] = ("continuous actions", "expert")
        return by_experts if all(name in EXPERTS for name in self.tasks) else by_experts[:1]

    def make_env(
        self,
        task_id: int,
        *,
        num_envs: int,
        num_threads: int = 1,
        seed: int | None = None,
        observation: str = "state",
        **pixels: Unpack[PixelOptions],
    ) -> BatchVecEnv:
        """Return the environments of one task, with the one-hot of length `num_tasks` appended.

        Pixel observations have it at the end of their ``state``.

        Args:
            task_id: position of the task in the sequence, from 0.
            num_envs: number of environments.
            num_threads: threads that step them; 0 takes every CPU.
            seed: seeds the environments' episodes.
            observation: ``"state"`` or ``"pixels"``.
            **pixels: how pixel observations look, see `lifelong_rl.envs.pixels.Pixels`.

        Raises:
            ValueError: if the sequence has no such task, or its robot no such camera.
        """
        from lifelong_rl.envs.batch_env import BatchEnv
        from lifelong_rl.envs.vec_env import (
            BatchVecEnv,  # imports Stable-Baselines3, and with it torch
        )

        if not 0 <= task_id < self.num_tasks:
            raise ValueError(
                f"task_id is {task_id}; sequence '{self.name}' has tasks 0 to {self.num_tasks - 1}"
            )
        task = get_task(self.tasks[task_id])
        env = BatchVecEnv(
            BatchEnv(task, num_envs, num_threads),
            one_hot=(task_id, self.num_tasks),
            store=self.store,
            observation=observation,
            **pixels,
        )
        if seed is not None:
            env.seed(seed)
        return env

    def make_joint_env(
        self,
        *,
        num_envs: int,
        num_threads: int = 1,
        seed: int | None = None,
        observation: str = "state",
        **pixels: Unpack[PixelOptions],
    ) -> JointVecEnv:
        """Return environments of all tasks side by side.

        Args:
            num_envs: number of environments in all, spread evenly over the tasks; each task has
                at least one, also where that makes more.
            num_threads: threads that step a task's environments; 0 takes every CPU.
            seed: seeds the environments' episodes.
            observation: see `make_env`.
            **pixels: see `make_env`.
        """
        from lifelong_rl.envs.vec_env import JointVecEnv

        counts = spread(num_envs, self.num_tasks)
        env = JointVecEnv(
            [
                self.make_env(
                    task_id,
                    num_envs=count,
                    num_threads=min(num_threads, count),
                    observation=observation,
                    **pixels,
                )
                for task_id, count in enumerate(counts)
            ]
        )
        if seed is not None:
            env.seed(seed)
        return env

    def reordered(self, seed: int) -> Sequence:
        """Return the same tasks in an order that depends on nothing but ``seed``, at least 0."""
        order = np.random.default_rng(seed).permutation(self.num_tasks)
        return replace(self, tasks=tuple(self.tasks[k] for k in order))

    def with_store(self, store: Store) -> Sequence:
        """Return the same sequence with another store."""
        return replace(self, store=store)

    def versions(self) -> dict[str, str]:
        """Return the tasks' versions by name."""
        return {name: get_task(name).revision() for name in self.tasks}


def spread(num_envs: int, count: int) -> list[int]:
    """Return how many environments each of so many tasks has, evenly and at least one."""
    return [max(1, len(range(k, num_envs, count))) for k in range(count)]


ARM3 = SEQUENCES.register("arm3")(
    Sequence(
        "arm3",
        ("reach", "drawer-open", "button-press"),
        "three arm skills: reach a point, pull a drawer open, press a button",
    )
)
"""The quickstart sequence."""

ARM5 = SEQUENCES.register("arm5")(
    Sequence(
        "arm5",
        ("reach", "button-press", "window-slide", "push", "pick-place"),
        "five arm skills from easy to hard",
        steps_per_task=20_000,
    )
)

ARM10 = SEQUENCES.register("arm10")(
    Sequence(
        "arm10",
        (
            "reach",
            "button-press",
            "drawer-open",
            "drawer-close",
            "door-open",
            "faucet-turn",
            "window-slide",
            "push",
            "pick-place",
            "peg-unplug",
        ),
        "ten arm skills",
        steps_per_task=20_000,
    )
)

ARM20 = SEQUENCES.register("arm20")(
    Sequence(
        "arm20",
        2 * ARM10.tasks,
        "the ten arm skills twice over",
        steps_per_task=ARM10.steps_per_task,
    )
)

CLAW10 = SEQUENCES.register("claw10")(
    Sequence(
        "claw10",
        tuple(task.name for task in VALVES),
        "ten valves for the claw to turn by half a turn, alike but for their shapes",
        steps_per_task=40_000,
    )
)

CLAW20 = SEQUENCES.register("claw20")(
    Sequence(
        "claw20",
        (*CLAW10.tasks, *(task.name for task in MORE_VALVES)),
        "the ten valves, then each of them turned to another angle",
        steps_per_task=CLAW10.steps_per_task,
    )
)


@SEQUENCE_MAKERS.register("tasks")
def make_sequence(name: str) -> Sequence:
    """Return the sequence of the tasks named.

    Args:
        name: names of one or several tasks, joined by commas.

    Raises:
        UnknownNameError: if there is no such task.
        ValueError: if the tasks do not belong to one robot.
    """
    tasks = tuple(name.split(","))
    if len(tasks) == 1 and name not in TASKS:
        raise UnknownNameError("sequence", name, (*SEQUENCES, *TASKS))
    return Sequence(name, tasks, f"the tasks {', '.join(tasks)}")


def get_sequence(name: str) -> Sequence:
    """Return a sequence by its name, or that of the tasks named.

    Args:
        name: the name of a sequence or of a task, or those of several tasks, joined by commas.

    Raises:
        UnknownNameError: if there is no such sequence or task.
        ValueError: if the tasks do not belong to one robot.
    """
    found: Sequence = SEQUENCES.get(name) if name in SEQUENCES else make_sequence(name)
    return found
