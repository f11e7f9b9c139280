"""Experience replay from a reservoir of each old task (Rolnick et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lifelong_rl.compatibility import Trait
from lifelong_rl.continual.condensation import check_condensable, condense, num_classes
from lifelong_rl.continual.memory import MemoryMethod, concatenate
from lifelong_rl.errors import UserError
from lifelong_rl.learning.protocols import Batch, Component, Learner
from lifelong_rl.learning.rows import join_rows
from lifelong_rl.options import Count, Positive, Whole
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

    With keep=distilled, what is kept of a task are rows that its end has learned in place of
    rows of its data, equally many of each class, so that they move a network as all of the data
    do: see `condensation.condense`. It is for agents that learn classes from labelled data.

    References:
        Rolnick et al. 2019, Experience replay for continual learning.
        Zhao, Mopuri & Bilen 2021, Dataset condensation with gradient matching.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(MemoryMethod.Options):
        """Options of Replay.

        Attributes:
            per_task: Rows kept of each task, a uniform sample of all its data (that of A-GEM in
                Continual World).
            ratio: Rows of memory, evenly over the old tasks, for each row of the current task
                (Rolnick et al. 2019).
            keep: What of a task: rows of its data (real, as Rolnick et al. 2019), or as
                many rows that are learned from it, with an equal share for each class (distilled).
            distill_updates: Of the rows that are learned; with 0 they are rows of the data, equally
                many of each class (untuned, some seconds a task; the code of Zhao et al. 2021 does
                1 000 for a row a class, and 10 000 for ten).
            distill_rate: Step size of these updates (Zhao et al. 2021: 0.1).
        """

        per_task: Count = 10_000
        ratio: Positive = 1.0
        keep: Literal["real", "distilled"] = "real"
        distill_updates: Whole = 100
        distill_rate: Positive = 0.1

    options: Options

    @property
    def option_needs(self) -> Mapping[str, Trait]:
        """Rows are learned for classes."""
        return {"keep=distilled": "class labels"} if self._distils else {}

    @property
    def _distils(self) -> bool:
        return self.options.keep == "distilled"

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Refuse what cannot be replayed, or what no rows can be learned for.

        Raises:
            UserError: See `MemoryMethod` and `check_condensable`; or there are more classes than
                rows to keep.
        """
        super().begin_task(learner, task_id)
        if not self._distils:
            return
        classes = check_condensable(learner, self.components(learner), "replay")
        if self.options.per_task < classes:
            raise UserError(
                f"per_task={self.options.per_task} with keep=distilled is not a row for each of "
                f"the {classes} classes of a task"
            )

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Keep a sample of the task's data, or rows that stand for it."""
        if not self._distils:
            super().end_task(learner, task_id)
            return
        (component,) = self.components(learner).values()
        rows = join_rows(learner.task_data())
        learned = condense(
            component,
            rows,
            self.options.per_task // num_classes(rows),
            updates=self.options.distill_updates,
            learning_rate=self.options.distill_rate,
        )
        self.memory.add_task([learned])

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """Add rows of the memory, at least one."""
        if not self.memory.num_tasks:
            return batch
        rows = len(next(iter(batch.values())))
        return concatenate(batch, self.memory.sample(max(1, round(self.options.ratio * rows))))
