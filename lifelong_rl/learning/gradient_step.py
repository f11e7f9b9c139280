"""The only place where an optimizer steps a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from lifelong_rl.errors import NonFiniteError
from lifelong_rl.learning.protocols import Batch, Component, Objective, ParamDict, StepRecord

if TYPE_CHECKING:
    from lifelong_rl.continual.base import ContinualMethod


@overload
def gradient_step(
    component: Objective, batch: Batch, method: None = None, *, max_grad_norm: float | None = None
) -> dict[str, float]: ...


@overload
def gradient_step(
    component: Component,
    batch: Batch,
    method: ContinualMethod | None = None,
    *,
    max_grad_norm: float | None = None,
) -> dict[str, float]: ...


def gradient_step(
    component: Any,
    batch: Batch,
    method: ContinualMethod | None = None,
    *,
    max_grad_norm: float | None = None,
) -> dict[str, float]:
    """Update one component on one batch, with the continual method around it.

    The order is: extend the batch; gradient of the task's loss; add the penalty's gradient;
    transform the sum; clip it; step the optimizer; tell the method what happened. Gradients are
    computed for the component's own parameters only, whatever other networks the loss runs
    through.

    Args:
        component: What to update: a `Component`, or an `Objective` if there is no method.
        batch: Rows of the current task.
        method: Reacts around the step, if it acts on this component; None for plain learning.
        max_grad_norm: Clip the gradient's 2-norm to this, after the method has transformed it.

    Returns:
        What was measured: "loss", and "penalty" and "grad_norm" where they were computed.

    Raises:
        NonFiniteError: The loss, the penalty, a gradient that the method had a part in or the
            clipped gradient's norm is NaN or infinite.
            The parameters are then as they were before the call.
    """
    if method is not None and not method.acts_on(component.role):
        method = None
    if method is not None:
        batch = method.extend_batch(component, batch)

    optimizer = component.optimizer
    own = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    for parameter in own:
        parameter.grad = None
    loss = component.loss(batch)
    measured = {"loss": _finite(loss, "loss", component)}
    loss.backward(inputs=own)

    record: StepRecord | None = None
    if method is not None:
        if method.records_steps:
            record = StepRecord(
                batch, measured["loss"], gradients(component), parameters(component)
            )
        penalty = method.penalty(component, batch)
        if penalty is not None:
            measured["penalty"] = _finite(penalty, "penalty", component)
            penalty.backward(inputs=own)  # type: ignore[no-untyped-call]
        if method.transforms_gradients:
            _assign_gradients(
                component, method.transform_gradient(component, gradients(component, copy=False))
            )

        if penalty is not None or method.transforms_gradients:
            held = [p.grad for p in own if p.grad is not None]
            largest = torch.stack(torch._foreach_norm(held, float("inf"))).max()
            _finite(largest, "gradient", component)

    if max_grad_norm is not None:
        norm = torch.nn.utils.clip_grad_norm_(own, max_grad_norm)
        measured["grad_norm"] = _finite(norm, "gradient norm", component)
    optimizer.step()
    if method is not None and record is not None:
        method.after_step(component, record)
    return measured


def trainable(component: Component) -> dict[str, torch.nn.Parameter]:
    """The component's parameters that require a gradient, by name."""
    return {name: p for name, p in component.module.named_parameters() if p.requires_grad}


def parameters(component: Component) -> ParamDict:
    """Copies of the component's trainable parameters."""
    return {name: p.detach().clone() for name, p in trainable(component).items()}


def gradients(component: Component, *, copy: bool = True) -> ParamDict:
    """The gradients that the component's trainable parameters hold; zero where they hold none."""
    found = {}
    for name, parameter in trainable(component).items():
        gradient = parameter.grad
        if gradient is None:
            found[name] = torch.zeros_like(parameter)
        else:
            found[name] = gradient.clone() if copy else gradient
    return found


def loss_gradient(component: Component, batch: Batch) -> ParamDict:
    """Gradient of the component's loss on `batch`; the gradients that it holds are untouched.

    It is zero where the loss depends on nothing that is trained, such as that of an old task whose
    parameters are frozen.
    """
    named = trainable(component)
    loss = component.loss(batch)
    found: tuple[Tensor | None, ...] = (None,) * len(named)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(named.items(), found, strict=True)
    }


def _assign_gradients(component: Component, transformed: ParamDict) -> None:
    for name, parameter in trainable(component).items():
        parameter.grad = transformed[name]


def _finite(value: Tensor, quantity: str, component: Objective) -> float:
    number = value.item()
    if not math.isfinite(number):
        component.optimizer.zero_grad(set_to_none=True)
        raise NonFiniteError(quantity, component.name, number)
    return number
