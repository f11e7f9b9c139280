"""Synaptic intelligence (Zenke et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.continual.consolidation import Consolidation
from lifelong_rl.learning.parameters import flatten, trainable
from lifelong_rl.learning.protocols import (
    Batch,
    Component,
    Learner,
    ParamDict,
    StateTree,
    StepRecord,
)
from lifelong_rl.options import Count, NonNegative, Positive
from lifelong_rl.registry import METHODS


@METHODS.register("si")
class SI(Consolidation):
    """Synaptic intelligence: hold parameters in proportion to what they did for the loss.

    While a task is learned, every step adds −g·Δθ to the path integral ω of each parameter: its
    share of the loss's decrease (eq. 3), with g the gradient of the task's loss alone and Δθ what
    the optimizer made of it. At the task's end ω⁺ / ((θ − θ_start)² + ξ) is added to the importance
    Ω (eq. 5). Later tasks add strength/2 Σ_i Ω_i (θ_i − θ*_i)² to their loss (eq. 4, whose c is
    strength/2), with θ* the last task's parameters. Negative ω count as zero, as in the authors'
    code. Gradients of minibatches are noisy, which makes ω too large; that is so in the paper too.
    There is no floor of Ω: a unit that is dead at a task's end was mostly alive before, and its
    weights have their share of the path.

    References:
        Zenke et al. 2017, Continual learning through synaptic intelligence.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Consolidation.Options):
        """Options of SI.

        Attributes:
            strength: Weight of the penalty, 2 c (paper: c = 1 on split MNIST).
            damping: ξ, which bounds Ω where a parameter hardly moved (paper: 1e-3).
        """

        strength: NonNegative = 2.0
        damping: Positive = 1e-3
        floor: NonNegative = field(default=0.0, init=False)
        samples: Count = field(default=1, init=False)

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._path_integral: dict[str, ParamDict] = {}
        self._start: dict[str, Tensor] = {}

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Start the path at the current parameters."""
        for name, component in self.components(learner).items():
            named = dict(component.module.named_parameters())
            self._start[name] = flatten(named).detach()
            self._path_integral[name] = {key: torch.zeros_like(p) for key, p in named.items()}

    def after_step(self, component: Component, step: StepRecord) -> None:
        """Add −g·Δθ to the path integral (eq. 3)."""
        names = list(step.before)
        parameters = trainable(component)
        after = [parameters[name].detach() for name in names]
        moved = torch._foreach_sub(after, [step.before[name] for name in names])
        integral = [self._path_integral[component.name][name] for name in names]
        gradient = [step.task_gradient[name] for name in names]
        torch._foreach_addcmul_(integral, gradient, moved, value=-1)

    def task_state(self) -> StateTree:
        """Where the path started, and its integral so far."""
        return {"start": dict(self._start), "path_integral": dict(self._path_integral)}

    def load_task_state(self, state: StateTree) -> None:
        """Take over a state made by `task_state`."""
        self._start = dict(state["start"])
        self._path_integral = {name: dict(parts) for name, parts in state["path_integral"].items()}

    def importance(self, component: Component, rows: Batch) -> Tensor:
        """ω⁺ / ((θ − θ_start)² + ξ) of the task that has just ended (eq. 5)."""
        end = flatten(dict(component.module.named_parameters())).detach()
        integral = flatten(self._path_integral[component.name])
        return integral.relu() / (
            (end - self._start[component.name]).square() + self.options.damping
        )
