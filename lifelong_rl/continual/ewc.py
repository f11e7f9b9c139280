"""Elastic weight consolidation, offline and online."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lifelong_rl.continual.base import ContinualMethod, Scope
from lifelong_rl.continual.importance import fisher_diagonal
from lifelong_rl.continual.memory import draw_rows
from lifelong_rl.continual.projection import flatten
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree


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


class EWC(ContinualMethod):
    """Elastic weight consolidation: hold parameters in proportion to their Fisher information.

    After each task the Fisher information F of the component's predictions is computed at the
    learned parameters θ*. Later tasks add strength/2 Σ_k Σ_i F_k,i (θ_i − θ*_k,i)² to their loss:
    the sum over all old tasks k (offline; Kirkpatrick et al. 2017, eq. 3), or one term with the
    decayed sum Σ_k γ^(K−k) F_k at the last task's parameters (online; Schwarz et al. 2018).
    The offline sum is kept as one quadratic, so memory and time do not grow with the tasks.

    Args:
        strength: λ. Continual World uses 1e4.
        decay: γ in [0, 1] of the online form; None for the offline form.
        samples: Rows of the task's data, drawn uniformly, that F is averaged over.
        scope: See `ContinualMethod`. Continual World regularises the policy only.

    Raises:
        ValueError: An option outside its range.

    References:
        Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks.
        Schwarz et al. 2018, Progress & compress: a scalable framework for continual learning.
        Huszár 2018, Note on the quadratic penalties in elastic weight consolidation.
    """

    def __init__(
        self,
        *,
        strength: float = 1e4,
        decay: float | None = None,
        samples: int = 2048,
        scope: Scope = "policy",
    ) -> None:
        super().__init__(scope=scope)
        if not 0 <= strength < math.inf:
            raise ValueError(f"strength must be finite and not negative, not {strength}")
        if decay is not None and not 0 <= decay <= 1:
            raise ValueError(f"decay must be in [0, 1], or None for offline EWC, not {decay}")
        if samples < 1:
            raise ValueError(f"samples must be at least 1, not {samples}")
        self.strength = strength
        self.decay = decay
        self.samples = samples
        self._old_tasks: dict[str, Quadratic] = {}

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """strength/2 Σ importance (θ − anchor)² over all old tasks."""
        old_tasks = self._old_tasks.get(component.name)
        if old_tasks is None:
            return None
        return self.strength * old_tasks(flatten(dict(component.module.named_parameters())))

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Measure the importance of each parameter to this task, at its solution."""
        rows = draw_rows(learner.task_data(), self.samples)
        for name, component in learner.components.items():
            if self.acts_on(component.role):
                fisher = flatten(fisher_diagonal(component, rows))
                anchor = flatten(dict(component.module.named_parameters())).detach()
                self._old_tasks[name] = self._combine(
                    self._old_tasks.get(name), Quadratic(fisher, anchor)
                )

    def _combine(self, old_tasks: Quadratic | None, task: Quadratic) -> Quadratic:
        if old_tasks is None:
            return task
        if self.decay is None:
            return old_tasks + task
        return Quadratic(self.decay * old_tasks.importance + task.importance, task.anchor)

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
