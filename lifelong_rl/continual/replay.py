"""Experience replay from a reservoir of each old task (Rolnick et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from lifelong_rl.continual.memory import MemoryMethod, concatenate
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.options import Count, Positive
from lifelong_rl.registry import METHODS


@METHODS.register("replay")
class Replay(MemoryMethod):
    """Experience replay: learn rows of old tasks together with those of the current one.

    The loss is the mean over all rows, so the old tasks together weigh ratio / (1 + ratio). With
    the default of 1 that is one half, as in CLEAR (Rolnick et al. 2019); their cost is
    that of a batch twice as large.

    Meta-experience replay (Riemer et al. 2019) is not offered beside it: it takes a gradient step
    for each single row of a batch and then goes part of the way, where every update of a learner
    is one step on one batch.

    References:
        Rolnick et al. 2019, Experience replay for continual learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(MemoryMethod.Options):
        """Options of Replay.

        Attributes:
            per_task: Rows kept of each task, a uniform sample of all its data (that of A-GEM in
                Continual World).
            ratio: Rows of memory, evenly over the old tasks, for each row of the current task
                (Rolnick et al. 2019).
        """

        per_task: Count = 10_000
        ratio: Positive = 1.0

    options: Options

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """Add rows of the memory, at least one."""
        if not self.memory.num_tasks:
            return batch
        rows = len(next(iter(batch.values())))
        return concatenate(batch, self.memory.sample(max(1, round(self.options.ratio * rows))))
