"""Noisy student: a network under noise learns what a copy of it, without noise, has said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.agents.unlabelled.base import (
    Logits,
    Setting,
    UnlabelledObjective,
    companions,
    confident,
)
from lifelong_rl.agents.unlabelled.teacher import Teacher
from lifelong_rl.agents.unlabelled.views import view
from lifelong_rl.learning import Batch, StateTree
from lifelong_rl.options import Count, NonNegative, Share
from lifelong_rl.registry import UNLABELLED_OBJECTIVES


@UNLABELLED_OBJECTIVES.register("noisy-student")
class NoisyStudent(UnlabelledObjective):
    """Noisy student: learn strong views as the classes that a frozen copy gives the plain rows.

    A task is cut into rounds + 1 equal parts. In the first the labelled rows alone are learned; at
    the end of each part but the last the network is copied, and the copy, without noise, is the
    teacher of the next part (Xie et al. 2020, algorithm 1).

    Departures: the student goes on from its own parameters in place of a new and larger network;
    the noise is that of strong views, without dropout and stochastic depth; classes are not
    balanced by copying rows.

    References:
        Xie et al. 2020, Self-training with noisy student improves ImageNet classification.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(UnlabelledObjective.Options):
        """Options of NoisyStudent.

        Attributes:
            weight: Of the loss of unlabelled rows (untuned: as that of labelled ones).
            rounds: Teachers in a task (Xie et al. 2020: 3 iterations).
            threshold: Smallest probability of a class that is learned (Xie et al. 2020: 0.3, of a
                thousand classes; untuned).
        """

        weight: NonNegative = 1.0
        rounds: Count = 3
        threshold: Share = 0.7

    needs_pictures: ClassVar[bool] = True
    options: Options

    def __init__(self, setting: Setting, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(setting, options, **given)
        self.teacher = Teacher()
        self.round = 0

    @property
    def followers(self) -> tuple[nn.Module, ...]:
        """The teacher."""
        return self.teacher.modules

    def loss(self, logits: Logits, batch: Batch) -> Tensor:
        """Cross-entropy of what the teacher is sure of, on strong views; 0 in the first part."""
        rows, task = companions(batch)
        if self.teacher.module is None:
            return rows.new_zeros(())
        label, mask = confident(self.teacher.logits(rows, task), self.options.threshold)
        student = logits(view(rows, self.setting.layout, strong=True), task)
        loss = F.cross_entropy(student, label, reduction="none")
        return self.options.weight * (mask * loss).mean()

    def begin_task(self, module: nn.Module) -> None:
        """Learn labelled rows alone at first."""
        self.teacher, self.round = Teacher(), 0

    def after_update(self, module: nn.Module, batch: Batch) -> None:
        """Copy the network at the end of a part."""
        part = min(int(self.share * (self.options.rounds + 1) + 1e-9), self.options.rounds)
        if part > self.round:
            self.teacher.become(module)
            self.round = part

    def state_dict(self) -> StateTree:
        """The teacher and its number."""
        return {"teacher": self.teacher.state_dict(), "round": self.round}

    def load_state_dict(self, state: StateTree, module: nn.Module) -> None:
        """Take over a state made by `state_dict`."""
        self.teacher.load_state_dict(state["teacher"], module)
        self.round = state["round"]
