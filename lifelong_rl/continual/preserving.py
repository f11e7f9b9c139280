"""Predictions for old tasks that never change: what the methods that ensure it share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from lifelong_rl.continual.distributions import outputs
from lifelong_rl.continual.functional import call_with
from lifelong_rl.continual.memory import draw_rows
from lifelong_rl.errors import UserError
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree

Network = TypeVar("Network", bound=nn.Module)

PROBE_ROWS = 256


class Preserving(ContinualMethod):
    """Base of the methods under which the predictions for old tasks do not change by one bit.

    A parameter that the predictions of several tasks depend on is learned in the first task and
    then frozen, unless the subclass has a better rule for it. So are what a component has beside
    the method's networks, such as an image encoder, but neither what is kept for each task apart
    (heads, a standard deviation) nor what does not predict (a value function in the same
    component). The optimizer's moments are cleared at each switch, because they would move what
    has no gradient.
    """

    learns_several: ClassVar[bool] = False

    def __init__(self, options: ContinualMethod.Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._shared: dict[str, list[str]] = {}

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Freeze what tasks share, once the first of them is learned."""
        for component in self.components(learner).values():
            shared = self._shared.get(component.name, [])
            for name, parameter in component.module.named_parameters():
                freeze(parameter, frozen=name in shared)
            component.optimizer.state.clear()

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Find out, once, what tasks share."""
        if task_id == 0 and learner.num_tasks > 1:
            rows = draw_rows(learner.task_data(), PROBE_ROWS)
            for component in self.components(learner).values():
                self._shared[component.name] = shared_parameters(component, rows)

    def state_dict(self) -> StateTree:
        """The names of the shared parameters."""
        return {"shared": dict(self._shared)}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._shared = dict(state["shared"])

    def task_state(self) -> StateTree:
        """Nothing: it changes at the ends of tasks only."""
        return {}


def freeze(parameter: nn.Parameter, *, frozen: bool) -> None:
    """Exclude a parameter from training, or include it."""
    parameter.requires_grad_(not frozen)
    parameter.grad = None  # an optimizer would still step with a gradient left behind


def train_only(index: int, modules: Iterable[nn.Module]) -> None:
    """Train one of several modules, that at `index`, and freeze the others."""
    for position, module in enumerate(modules):
        for parameter in module.parameters():
            freeze(parameter, frozen=position != index)


def shared_parameters(component: Component, rows: Batch) -> list[str]:
    """Names of the parameters with an entry that the predictions of two tasks depend on.

    Args:
        component: Predicts.
        rows: What it predicts for, as rows of task 0 and as rows of task 1, (n, ...).
    """
    leaves = {
        name: parameter.detach().requires_grad_()
        for name, parameter in component.module.named_parameters()
    }

    def influence(task_id: int) -> list[Tensor | None]:
        inputs = component.with_task({key: rows[key] for key in component.inputs}, task_id)
        predicted = outputs(call_with(component, leaves, component.predict, inputs))
        mixed = (predicted * torch.randn_like(predicted)).sum()  # no direction cancels another
        return list(torch.autograd.grad(mixed, list(leaves.values()), allow_unused=True))

    return [
        name
        for name, first, second in zip(leaves, influence(0), influence(1), strict=True)
        if first is not None and second is not None and ((first != 0) & (second != 0)).any()
    ]


def networks_of(component: Component, kind: type[Network], method: str) -> list[Network]:
    """The networks of a component that a method has built.

    Args:
        component: Holds them.
        kind: Their class.
        method: What to call the method in an error.

    Raises:
        UserError: There is none.
    """
    found = [module for module in component.module.modules() if isinstance(module, kind)]
    if not found:
        raise UserError(
            f"{method} cannot act on '{component.name}': its network was not made by the "
            "method's build_network"
        )
    return found
