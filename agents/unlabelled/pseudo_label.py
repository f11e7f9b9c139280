"""Pseudo-labels: what the network holds most probable is learned as if it were the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.agents.unlabelled.base import (
    Logits,
    Setting,
    UnlabelledObjective,
    companions,
    confident,
    ramp,
)
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch
from lifelong_rl.options import NonNegative, Share
from lifelong_rl.registry import UNLABELLED_OBJECTIVES


@UNLABELLED_OBJECTIVES.register("pseudo-label")
class PseudoLabel(UnlabelledObjective):
    """Pseudo-label: learn each unlabelled row as the class that the network holds most probable.

    Adds α(t) times the mean cross-entropy of these classes (Lee 2013, eq. 15), which are chosen
    anew at every update; α is 0 for the first updates of a task, grows, and then stays (eq. 16).

    Departures: rows whose class has a lower probability than the threshold add nothing, which the
    paper does not have (threshold=0 is the paper's); t counts shares of a task's updates, as tasks
    are as long as one makes them; no dropout and no pretraining.

    References:
        Lee 2013, Pseudo-label: the simple and efficient semi-supervised learning method for deep
        neural networks.
        Sohn et al. 2020, FixMatch: simplifying semi-supervised learning with consistency and
        confidence.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(UnlabelledObjective.Options):
        """Options of PseudoLabel.

        Attributes:
            weight: α_f, the weight in the end (Lee 2013).
            threshold: Smallest probability of a class that is learned (Sohn et al. 2020).
            start: Share of a task's updates before α grows (untuned: the paper's T1 is 100 epochs).
            full: Share of a task's updates when α has grown (untuned: the paper's T2 is 600
                epochs).
        """

        weight: NonNegative = 3.0
        threshold: Share = 0.95
        start: Share = 0.1
        full: Share = 0.6

    options: Options

    def __init__(self, setting: Setting, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(setting, options, **given)
        if self.options.full < self.options.start:
            raise UserError(
                f"full is {self.options.full} and start {self.options.start}: a weight that has "
                "grown before it grows; let full be at least start"
            )

    def loss(self, logits: Logits, batch: Batch) -> Tensor:
        """α(t) times the cross-entropy of confident classes, the mean over all unlabelled rows."""
        alpha = self.options.weight * ramp(self.share, self.options.start, self.options.full)
        found = logits(*companions(batch))
        label, mask = confident(found, self.options.threshold)
        return alpha * (mask * F.cross_entropy(found, label, reduction="none")).mean()
