"""Perfect memory: nothing is thrown away, and all tasks are learned on at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from lifelong_rl.continual.memory import MemoryMethod, concatenate
from lifelong_rl.learning.protocols import Batch, Component, Learner
from lifelong_rl.learning.rows import count_rows
from lifelong_rl.options import Count
from lifelong_rl.registry import METHODS


@METHODS.register("perfect-memory")
class PerfectMemory(MemoryMethod):
    """Keep all data; each update draws its rows evenly over all tasks so far.

    The batch keeps its size, so an update costs what it does in fine-tuning, but of n rows only
    n / k are of the current task when it is the k-th: a random part of those that the learner
    drew. In reinforcement learning that slows new tasks badly, which is the finding that it is
    there to show.

    References:
        Wolczyk et al. 2021, Continual World: a robotic benchmark for continual reinforcement
        learning ("perfect memory").
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(MemoryMethod.Options):
        """Options of PerfectMemory."""

        per_task: Count = field(default=1, init=False)

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """As many rows, evenly over the tasks: those of the current one, then the memory's."""
        if not self.memory.num_tasks:
            return batch
        first = next(iter(batch.values()))
        n = len(first)
        share = max(1, n // (self.memory.num_tasks + 1))
        drawn = torch.randperm(n, device=first.device)[:share]
        current = {key: value[drawn] for key, value in batch.items()}
        return concatenate(current, self.memory.sample(n - share))

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Keep all of the task's data."""
        stream = list(learner.task_data())
        self.memory.per_task = max(1, count_rows(stream))
        self.memory.add_task(stream)
