"""Experience replay from a reservoir of each old task (Rolnick et al. 2019)."""

from __future__ import annotations

from lifelong_rl.continual.memory import MemoryMethod, concatenate
from lifelong_rl.learning.method import Scope
from lifelong_rl.learning.protocols import Batch, Component
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

    Args:
        per_task: Rows kept of each task, a uniform sample of all its data.
        ratio: Rows of memory, evenly over the old tasks, for each row of the current task.
        scope: See `ContinualMethod`.

    Raises:
        ValueError: No capacity, or a ratio that is not positive.

    References:
        Rolnick et al. 2019, Experience replay for continual learning.
    """

    def __init__(
        self, *, per_task: int = 10_000, ratio: float = 1.0, scope: Scope = "both"
    ) -> None:
        super().__init__(per_task=per_task, scope=scope)
        if not 0 < ratio < float("inf"):
            raise ValueError(f"ratio must be positive and finite, not {ratio}")
        self.ratio = ratio

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """Add rows of the memory, at least one."""
        if not self.memory.num_tasks:
            return batch
        rows = len(next(iter(batch.values())))
        return concatenate(batch, self.memory.sample(max(1, round(self.ratio * rows))))
