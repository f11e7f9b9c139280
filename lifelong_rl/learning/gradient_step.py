"""The only place where an optimizer steps a network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from lifelong_rl.errors import NonFiniteError
from lifelong_rl.learning.parameters import gradients, parameters, trainable
from lifelong_rl.learning.protocols import Batch, Component, Objective, ParamDict, StepRecord

if TYPE_CHECKING:
    from lifelong_rl.learning.method import ContinualMethod


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
    if loss.requires_grad:  # not for old tasks' rows alone, whose networks a method has frozen
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
            if held:
                largest = torch.stack(torch._foreach_norm(held, float("inf"))).max()
                _finite(largest, "gradient", component)

    if max_grad_norm is not None:
        norm = torch.nn.utils.clip_grad_norm_(own, max_grad_norm)
        measured["grad_norm"] = _finite(norm, "gradient norm", component)
    optimizer.step()
    if method is not None and record is not None:
        method.after_step(component, record)
    return measured


def _assign_gradients(component: Component, transformed: ParamDict) -> None:
    for name, parameter in trainable(component).items():
        parameter.grad = transformed[name]


def _finite(value: Tensor, quantity: str, component: Objective) -> float:
    number = value.item()
    if not math.isfinite(number):
        component.optimizer.zero_grad(set_to_none=True)
        raise NonFiniteError(quantity, component.name, number)
    return number
