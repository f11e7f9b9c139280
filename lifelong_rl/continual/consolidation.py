"""Quadratic penalties: what l2, EWC, SI and MAS share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.continual.memory import draw_rows
from lifelong_rl.continual.preserving import shared_parameters
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
    over the old tasks and θ* are the last task's parameters. Continual World's penalty has no ½:
    a strength there is twice as much here.

    What matters nothing at θ* may matter elsewhere. Units that put out zero on all rows of a task,
    as those of ReLU may, have importance zero, yet the task's head still reads them: a later task
    can move their incoming weights until they put out something, and change the old predictions.
    So each task's importance is at least `floor` in the parameters that tasks share. Heads, in
    which nothing but their own task's loss moves anything, have no floor, nor do those of tasks to
    come, which it would keep from learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of these methods.

        Attributes:
            strength: Weight of the penalty.
            floor: Least importance of what tasks share.
            samples: Rows of the task's data, drawn uniformly, that the importance is measured on.
        """

        strength: NonNegative
        floor: NonNegative
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
            importance = self.importance(component, rows)
            if self.options.floor:
                importance = importance.maximum(self.options.floor * shared(component, rows))
            task = Quadratic(importance, anchor)
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

    def task_state(self) -> StateTree:
        """Nothing: it changes at the ends of tasks only."""
        return {}


def shared(component: Component, rows: Batch) -> Tensor:
    """1 for the parameters that the predictions of several tasks depend on, else 0, (p,).

    Args:
        component: See `shared_parameters`.
        rows: See `shared_parameters`.
    """
    names = shared_parameters(component, rows)
    return flatten(
        {
            name: torch.full_like(parameter, float(name in names))
            for name, parameter in component.module.named_parameters()
        }
    ).detach()
