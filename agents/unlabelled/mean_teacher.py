"""Mean teacher: the network is to agree with an average of what it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lifelong_rl.agents.unlabelled.base import Logits, Setting, UnlabelledObjective, companions
from lifelong_rl.agents.unlabelled.teacher import Teacher
from lifelong_rl.agents.unlabelled.views import view
from lifelong_rl.learning import Batch, StateTree
from lifelong_rl.options import NonNegative, PositiveShare, ShareBelowOne
from lifelong_rl.registry import UNLABELLED_OBJECTIVES


@UNLABELLED_OBJECTIVES.register("mean-teacher")
class MeanTeacher(UnlabelledObjective):
    """Mean teacher: agree, on rows changed at random, with an average of the network over time.

    Adds w(t) times the mean squared difference of the probabilities that the network and its
    teacher give to a row, each with noise of its own. After update t of a task (from 0) the teacher
    moves by θ' ← a θ' + (1 − a) θ with a = min(1 − 1 / (t + 1), decay) (Tarvainen and Valpola 2017,
    section 2 and their implementation); w(t) = weight · exp(−5 (1 − s)²) with s the share of the
    ramp that is done.

    Departures: rows are changed by weak views where they are pictures, beside the noise; no
    dropout; the teacher begins anew with each task, as heads do; and the network itself is
    evaluated, because that is what continual methods protect.

    References:
        Tarvainen and Valpola 2017, Mean teachers are better role models.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(UnlabelledObjective.Options):
        """Options of MeanTeacher.

        Attributes:
            weight: Of the squared difference, averaged over classes, in the end (untuned: the
                paper has 100, for ten classes and tens of thousands of updates).
            decay: Largest a (Tarvainen and Valpola 2017: 0.99 at first, then 0.999).
            noise: Standard deviation of what is added to rows (Tarvainen and Valpola 2017: 0.15).
            ramp: Share of a task's updates in which the weight grows (untuned: the paper's 80
                epochs).
        """

        weight: NonNegative = 1.0
        decay: ShareBelowOne = 0.99
        noise: NonNegative = 0.15
        ramp: PositiveShare = 0.4

    options: Options

    def __init__(self, setting: Setting, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(setting, options, **given)
        self.teacher = Teacher()
        self.updates = 0

    @property
    def followers(self) -> tuple[nn.Module, ...]:
        """The teacher."""
        return self.teacher.modules

    def loss(self, logits: Logits, batch: Batch) -> Tensor:
        """w(t) times the squared difference."""
        rows, task = companions(batch)
        teach = logits if self.teacher.module is None else self.teacher.logits
        with torch.no_grad():
            target = teach(self._change(rows), task).softmax(dim=1)
        given = logits(self._change(rows), task).softmax(dim=1)
        return self._weight() * (given - target).square().mean()

    def begin_task(self, module: nn.Module) -> None:
        """Begin to average anew."""
        self.teacher.become(module)
        self.updates = 0

    def after_update(self, module: nn.Module, batch: Batch) -> None:
        """Move the teacher."""
        self.teacher.average(module, min(1 - 1 / (self.updates + 1), self.options.decay))
        self.updates += 1

    def state_dict(self) -> StateTree:
        """The teacher, and how long it has averaged."""
        return {"teacher": self.teacher.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: StateTree, module: nn.Module) -> None:
        """Take over a state made by `state_dict`."""
        self.teacher.load_state_dict(state["teacher"], module)
        self.updates = state["updates"]

    def _weight(self) -> float:
        left = 1 - min(1.0, self.share / self.options.ramp)
        return self.options.weight * math.exp(-5 * left**2)

    def _change(self, rows: Tensor) -> Tensor:
        layout = self.setting.layout
        shown = rows if layout is None else view(rows, layout, strong=False)
        return shown + self.options.noise * torch.randn_like(shown)
