"""Orthogonal gradient descent (Farajtabar et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.continual.distributions import outputs
from lifelong_rl.continual.importance import row_gradients
from lifelong_rl.continual.memory import draw_rows
from lifelong_rl.continual.projection import extend_basis, orthogonalise
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.parameters import flatten, trainable, unflatten
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree, StepRecord
from lifelong_rl.options import Count
from lifelong_rl.registry import METHODS


@METHODS.register("ogd")
class OGD(ContinualMethod):
    """Orthogonal gradient descent: step only where the outputs on old rows do not change.

    After each task the gradients of the network's outputs on a sample of its rows, one output
    drawn at random for each row, are made an orthonormal basis together with those of the earlier
    tasks. Later steps lose their part in its span. The paper projects the gradient and takes a
    step of plain gradient descent (algorithm 1); projecting the step is then the same, and holds
    for optimizers with momentum and per-parameter scales too, which would turn a projected
    gradient back into the span.

    References:
        Farajtabar et al. 2020, Orthogonal gradient descent for continual learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of OGD.

        Attributes:
            per_task: Rows whose gradients are kept for each task (untuned: half of the paper's 200,
                for a CPU). Memory and time of a step are proportional to their sum over the tasks.
        """

        per_task: Count = 100

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._bases: dict[str, Tensor] = {}

    def after_step(self, component: Component, step: StepRecord) -> None:
        """Take back the part of the step that would change the outputs on old rows."""
        basis = self._bases.get(component.name)
        if basis is None:
            return
        now = trainable(component)
        moved = {
            name: now[name].detach() - step.before[name] if name in now else torch.zeros_like(p)
            for name, p in component.module.named_parameters()
        }
        free = unflatten(orthogonalise(flatten(moved), basis), moved)
        with torch.no_grad():
            for name, parameter in now.items():
                parameter.copy_(step.before[name] + free[name])

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Extend the basis by the outputs' gradients at the task's solution."""
        rows = draw_rows(learner.task_data(), self.options.per_task)
        for name, component in self.components(learner).items():
            gradients = output_gradients(component, rows)
            basis = self._bases.get(name, gradients[:0])
            self._bases[name] = extend_basis(basis, gradients)

    def state_dict(self) -> StateTree:
        """The basis of each component, one vector a row."""
        return dict(self._bases)

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._bases = dict(state)

    def task_state(self) -> StateTree:
        """Nothing: it changes at the ends of tasks only."""
        return {}


def output_gradients(component: Component, batch: Batch) -> Tensor:
    """The gradient of one output, drawn at random, for each row.

    Outputs that are the same for all rows, such as a fixed standard deviation, are not drawn.

    Args:
        component: Predicts.
        batch: Rows, (n, ...).

    Returns:
        (n, p), the parameters in the order of `named_parameters`.
    """
    with torch.no_grad():
        values = outputs(component.predict(batch))
    varies = (values != values[0]).any(dim=0)
    candidates = (varies if varies.any() else ~varies).nonzero().squeeze(1)
    places = torch.randint(len(candidates), (len(values),), device=values.device)
    drawn = candidates[places]

    def output(row: Batch, index: Tensor) -> Tensor:
        return outputs(component.predict(row)).gather(1, index.unsqueeze(1)).sum()

    return torch.cat(
        [
            torch.cat([gradient.flatten(start_dim=1) for gradient in chunk.values()], dim=1)
            for chunk in row_gradients(component, output, batch, drawn)
        ]
    )
