"""Gradual self-training: each task without labels is learned as the last network labels it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lifelong_rl.agents.unlabelled.base import Logits, UnlabelledObjective
from lifelong_rl.learning import Batch
from lifelong_rl.options import ShareBelowOne
from lifelong_rl.registry import UNLABELLED_OBJECTIVES


@UNLABELLED_OBJECTIVES.register("gradual")
class Gradual(UnlabelledObjective):
    """Gradual: learn a task that has no labels by those that the network gives it as it begins.

    The rows that the network is least sure of are left out, and the others learned as its most
    probable classes (Kumar et al. 2020, section 2). Along a drift, such as `drift-frames`, that is
    gradual self-training; with nothing between the two domains (`drift-frames:1`) it is direct
    self-training. A task that has labels is learned by them alone.

    Departures: neither dropout nor a schedule of learning rates; `l2-init` and other methods
    regularise.

    References:
        Kumar et al. 2020, Understanding self-training for gradual domain adaptation.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(UnlabelledObjective.Options):
        """Options of Gradual.

        Attributes:
            drop: Share of the rows that is left out, those of the lowest probability (Kumar et al.
                2020: 0.1).
        """

        drop: ShareBelowOne = 0.1

    draws: ClassVar[bool] = False
    labels_tasks: ClassVar[bool] = True
    options: Options

    def loss(self, logits: Logits, batch: Batch) -> Tensor:
        """Nothing: rows without labels are learned as if they had some."""
        return batch["observations"].new_zeros(())

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The rows that the network is surest of, in their order, and its classes."""
        sure, label = logits.softmax(dim=1).max(dim=1)
        count = max(1, round((1 - self.options.drop) * len(sure)))
        kept = sure.argsort(descending=True, stable=True)[:count].sort().values
        return kept, label[kept]
