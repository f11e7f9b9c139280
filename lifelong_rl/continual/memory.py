"""Memories of old tasks' data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from lifelong_rl.compatibility import Trait
from lifelong_rl.errors import UserError
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Learner, StateTree
from lifelong_rl.learning.rows import take_rows
from lifelong_rl.options import Count, Scope


class Reservoir:
    """A uniform sample of a stream whose length is not known beforehand.

    Algorithm R (Vitter 1985): item t of the stream (from 1) takes a slot drawn from 1 … t, if that
    is one of the `capacity` slots. After n items each of them is held with probability
    min(1, capacity / n), however the stream was cut into batches. Random numbers come from torch's
    global generator, which the benchmark seeds at every task.

    Args:
        capacity: Rows to hold, at least 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a memory must hold at least 1 row, not {capacity}")
        self.capacity = capacity
        self.seen = 0
        self._slots: Batch = {}

    def add(self, batch: Batch) -> None:
        """Offer rows (n, ...) in the order of the stream."""
        if not self._slots:
            self._slots = {
                key: value.new_empty((self.capacity, *value.shape[1:]))
                for key, value in batch.items()
            }
        n = len(next(iter(batch.values())))
        index = torch.arange(self.seen, self.seen + n)
        drawn = (torch.rand(n, dtype=torch.float64) * (index + 1)).long()
        slot = torch.where(index < self.capacity, index, drawn)
        kept = (slot < self.capacity).nonzero().squeeze(1)
        # Of rows that drew the same slot the last must win, as if they had come one by one.
        last = torch.full((self.capacity,), -1).scatter_reduce(0, slot[kept], kept, "amax")
        taken = (last >= 0).nonzero().squeeze(1)
        for key, value in batch.items():
            slots = self._slots[key]
            slots[taken.to(slots.device)] = value.detach()[last[taken].to(value.device)]
        self.seen += n

    @property
    def rows(self) -> Batch:
        """A copy of the rows held, (min(seen, capacity), ...)."""
        return {key: value[: self.seen].clone() for key, value in self._slots.items()}


def draw_rows(stream: Iterable[Batch], count: int) -> Batch:
    """A uniform sample without replacement of `count` rows of a stream, or all if it has fewer.

    Raises:
        UserError: The stream is empty.
    """
    reservoir = Reservoir(count)
    for batch in stream:
        reservoir.add(batch)
    if not reservoir.seen:
        raise UserError(
            "there is no data of the task to draw from, as the agent's task_data() is empty: give "
            "it at least a step, or --method finetune if it keeps no data"
        )
    return reservoir.rows


class EpisodicMemory:
    """A uniform sample of each finished task's data.

    Args:
        per_task: Rows to keep of each task, at least 1.
    """

    def __init__(self, per_task: int) -> None:
        if per_task < 1:
            raise ValueError(f"per_task must be at least 1, not {per_task}")
        self.per_task = per_task
        self._rows: Batch = {}
        self._sizes = torch.zeros(0, dtype=torch.int64)

    @property
    def num_tasks(self) -> int:
        """Tasks that have rows in the memory."""
        return len(self._sizes)

    def add_task(self, stream: Iterable[Batch]) -> None:
        """Keep rows of a task that has ended."""
        rows = draw_rows(stream, self.per_task)
        size = len(next(iter(rows.values())))
        self._rows = concatenate(self._rows, rows) if self.num_tasks else rows
        self._sizes = torch.cat([self._sizes, torch.tensor([size])])

    def drop_task(self, task: int) -> None:
        """Give up the rows of one task; tasks count from 0 in order of addition."""
        begin = int(self._sizes[:task].sum())
        end = begin + int(self._sizes[task])
        self._rows = {k: torch.cat([v[:begin], v[end:]]) for k, v in self._rows.items()}
        self._sizes = torch.cat([self._sizes[:task], self._sizes[task + 1 :]])

    def sample(self, n: int) -> Batch:
        """Draw `n` rows with replacement, evenly: the tasks' counts differ by at most one."""
        # Starting at a random task gives each its share of the rows that are left over.
        task = (torch.arange(n) + torch.randint(self.num_tasks, ())) % self.num_tasks
        size = self._sizes[task]
        offset = (self._sizes.cumsum(0) - self._sizes)[task]
        return take_rows(self._rows, offset + (torch.rand(n, dtype=torch.float64) * size).long())

    def sample_task(self, task: int, n: int) -> Batch:
        """Draw `n` rows of one task with replacement; tasks count from 0 in order of addition."""
        offset = self._sizes[:task].sum()
        index = offset + (torch.rand(n, dtype=torch.float64) * self._sizes[task]).long()
        return take_rows(self._rows, index)

    def state_dict(self) -> StateTree:
        """Rows and their number for each task."""
        return {"rows": dict(self._rows), "sizes": self._sizes}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._rows = dict(state["rows"])
        self._sizes = state["sizes"].cpu()  # as all that is drawn for it


class MemoryMethod(ContinualMethod):
    """Base of the methods that compute the loss on a sample of each old task's data."""

    needs: ClassVar[tuple[Trait, ...]] = ("replayable losses",)

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of these methods.

        Attributes:
            per_task: Rows kept of each task.
            scope: Which components it acts on: the networks that the agent is evaluated by
                (policy), those that only help learning (value), or both (untuned: rows serve
                every loss).
        """

        per_task: Count
        scope: Scope = "both"

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self.memory = EpisodicMemory(self.options.per_task)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Refuse a component whose loss says nothing about rows of long ago.

        Raises:
            UserError: The method acts on a component that is not replayable.
        """
        for name, component in self.components(learner).items():
            if not component.replayable:
                raise UserError(
                    f"{type(self).__name__} computes the loss on rows of old tasks, but that of "
                    f"'{name}' holds for fresh rows only: choose another method or agent"
                )

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Keep a sample of the task's data."""
        self.memory.add_task(learner.task_data())

    def state_dict(self) -> StateTree:
        """The memory."""
        return {"memory": self.memory.state_dict()}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self.memory.load_state_dict(state["memory"])

    def task_state(self) -> StateTree:
        """Nothing: it changes at the ends of tasks only."""
        return {}


def concatenate(first: Batch, second: Batch) -> Batch:
    """Rows of two batches, with the keys that both have.

    What only one has, such as noise drawn for this one update, its component draws anew.
    """
    return {key: torch.cat([first[key], second[key]]) for key in first if key in second}
