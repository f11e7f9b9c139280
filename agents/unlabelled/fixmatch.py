"""FixMatch: what is sure of a weak view is to be said of a strong one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.agents.unlabelled.base import (
    Logits,
    Setting,
    UnlabelledObjective,
    companions,
    confident,
)
from lifelong_rl.agents.unlabelled.views import view
from lifelong_rl.learning import Batch, StateTree
from lifelong_rl.options import NonNegative, Share, ShareBelowOne
from lifelong_rl.registry import UNLABELLED_OBJECTIVES

DECAY = 0.5
"""Of the mean of what is said. The paper averages 128 batches: here the network can go over to one
class within ten."""


@UNLABELLED_OBJECTIVES.register("fixmatch")
class FixMatch(UnlabelledObjective):
    """FixMatch: learn a strong view as the class that a weak view of the row is sure of.

    Adds λ · (1 / μB) Σ_b 1(max q_b ≥ τ) H(q̂_b, p(A(u_b))), with q_b what the network says of a weak
    view of u_b, and q̂_b its most probable class (Sohn et al. 2020, eq. 4); labelled rows are shown
    in weak views too (eq. 3).

    With `align`, q_b is first made q_b p̄ / p̃ and normalised, with p̄ uniform and p̃ the mean of what
    the network said of a task's rows (Berthelot et al. 2020, section 3.1; FixMatch's section 2.5
    names it as an extension). It is on by default, as with one label a class the network otherwise
    often ends up sure of one class for every row.

    Departures: that; p̃ is an exponential average, one for each task; the views are those of
    `lifelong_rl.agents.unlabelled.views`; Adam, and neither a cosine schedule nor weight decay nor
    an average of the parameters for evaluation.

    References:
        Sohn et al. 2020, FixMatch: simplifying semi-supervised learning with consistency and
        confidence.
        Berthelot et al. 2020, ReMixMatch: semi-supervised learning with distribution alignment and
        augmentation anchoring.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(UnlabelledObjective.Options):
        """Options of FixMatch.

        Attributes:
            weight: λ (Sohn et al. 2020: 1).
            threshold: τ (Sohn et al. 2020: 0.95).
            start: Share of a task's updates that learn labelled rows alone, before λ counts (Sohn
                et al. 2020: 0).
            align: Whether classes that the network says too often are said less often (measured on
                split-digits with one label a class: see docs/few_labels.md).
        """

        weight: NonNegative = 1.0
        threshold: Share = 0.95
        start: ShareBelowOne = 0.0
        align: bool = True

    needs_pictures: ClassVar[bool] = True
    options: Options

    def __init__(self, setting: Setting, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(setting, options, **given)
        self.said = torch.full((setting.num_tasks, setting.classes), 1 / setting.classes)
        self.updates = 0

    def view_labelled(self, rows: Tensor) -> Tensor:
        """Weak views."""
        return view(rows, self.setting.layout, strong=False)

    def loss(self, logits: Logits, batch: Batch) -> Tensor:
        """λ times eq. 4."""
        rows, task = companions(batch)
        with torch.no_grad():
            weak = logits(view(rows, self.setting.layout, strong=False), task)
            if self.options.align:
                said = self.said.to(rows.device)
                weak = weak - (said[:1] if task is None else said[task]).log()
            label, mask = confident(weak, self.options.threshold)
        strong = logits(view(rows, self.setting.layout, strong=True), task)
        weight = self.options.weight if self.share >= self.options.start else 0.0
        return weight * (mask * F.cross_entropy(strong, label, reduction="none")).mean()

    def begin_task(self, module: nn.Module) -> None:
        """Average anew."""
        self.updates = 0

    @torch.no_grad()
    def after_update(self, module: nn.Module, batch: Batch) -> None:
        """Move the mean of what is said of the task's rows."""
        if not self.options.align:
            return
        rows, task = companions(batch)
        mean = module(rows, task)[0].softmax(dim=1)
        decay = min(1 - 1 / (self.updates + 1), DECAY)
        self.said = self.said.to(rows.device)
        for each in [0] if task is None else sorted(set(task.tolist())):
            own = mean if task is None else mean[task == each]
            self.said[each] = decay * self.said[each] + (1 - decay) * own.mean(dim=0)
        self.updates += 1

    def state_dict(self) -> StateTree:
        """What was said of each task's rows."""
        return {"said": self.said, "updates": self.updates}

    def load_state_dict(self, state: StateTree, module: nn.Module) -> None:
        """Take over a state made by `state_dict`."""
        self.said, self.updates = state["said"].clone(), state["updates"]
