"""Quadratic penalties: what l2, EWC, SI and MAS share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.continual.memory import draw_rows
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree
from lifelong_rl.options import Count, NonNegative


@dataclass(frozen=True)
class Quadratic:
    """The function ½ Σ importance (θ − anchor)² of a flat vector θ (p,)."""

    importance: Tensor
    anchor: Tensor

    def __call__(self, params: Tensor) -> Tensor:
        """Its value at `params` (p,), a scalar."""
        difference = params - self.anchor
        return 0.5 * torch.dot(self.importance * difference, difference)

    def __add__(self, other: Quadratic) -> Quadratic:
        """The sum, which is a quadratic again, up to a constant (Huszár 2018).

        ½A(θ − m)² + ½F(θ − μ)² = ½(A + F)(θ − (Am + Fμ)/(A + F))² + const. Where A + F is zero the
        anchor has no effect and is μ.
        """
        importance = self.importance + other.importance
        share = torch.where(importance > 0, other.importance / importance, 1.0)
        return Quadratic(importance, torch.lerp(self.anchor, other.anchor, share))


class Consolidation(ContinualMethod, ABC):
    """Base of the methods that pull each parameter back in proportion to its importance.

    Later tasks add strength/2 Σ_i Ω_i (θ_i − θ*_i)² to their loss, with the importance Ω that
    `importance` measures after each task at the learned parameters θ*. By default Ω is the sum
    over the old tasks and θ* are the last task's parameters.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of these methods.

        Attributes:
            strength: Weight of the penalty.
            samples: Rows of the task's data, drawn uniformly, that the importance is measured on.
        """

        strength: NonNegative
        samples: Count

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._old_tasks: dict[str, Quadratic] = {}

    @abstractmethod
    def importance(self, component: Component, rows: Batch) -> Tensor:
        """Importance of each parameter to the task that has just ended, (p,), not negative."""

    def combine(self, old_tasks: Quadratic, task: Quadratic) -> Quadratic:
        """The penalty of all tasks, given that of the old ones and that of the last."""
        return Quadratic(old_tasks.importance + task.importance, task.anchor)

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """strength/2 Σ importance (θ − anchor)² over all old tasks."""
        old_tasks = self._old_tasks.get(component.name)
        if old_tasks is None:
            return None
        return self.options.strength * old_tasks(flatten(dict(component.module.named_parameters())))

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Measure the importance of each parameter to this task, at its solution."""
        rows = draw_rows(learner.task_data(), self.options.samples)
        for name, component in self.components(learner).items():
            anchor = flatten(dict(component.module.named_parameters())).detach()
            task = Quadratic(self.importance(component, rows), anchor)
            old_tasks = self._old_tasks.get(name)
            self._old_tasks[name] = task if old_tasks is None else self.combine(old_tasks, task)

    def state_dict(self) -> StateTree:
        """Importance and anchor of each component's parameters, in one vector each."""
        return {
            name: {"importance": old.importance, "anchor": old.anchor}
            for name, old in self._old_tasks.items()
        }

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._old_tasks = {
            name: Quadratic(old["importance"], old["anchor"]) for name, old in state.items()
        }
