"""The only place where an optimizer steps a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, overload

import torch
from torch import Tensor

from lifelong_rl.errors import ContractError, NonFiniteError
from lifelong_rl.learning.parameters import (
    analytic_gradient,
    gradients,
    parameters,
    trainable,
)
from lifelong_rl.learning.protocols import Batch, Component, Objective, StepRecord

if TYPE_CHECKING:
    from lifelong_rl.learning.method import ContinualMethod

SCALAR = "a scalar tensor that depends on the parameters"


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
        ContractError: A loss is no scalar, or a hook of the method returns something else than it
            has to; the parameters are as before, too.
    """
    if method is not None and not method.acts_on(component.role):
        method = None
    if method is not None:
        batch = method.extend_batch(component, batch)
        if not isinstance(batch, dict):
            _refuse(method, f"extend_batch returns {_describe(batch)}, not a batch")

    optimizer = component.optimizer
    own = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    for parameter in own:
        parameter.grad = None
    known = analytic_gradient(component, batch)
    loss = component.loss(batch) if known is None else known[0]
    if known is None and not (_is_scalar(loss) or _is_of_frozen_parameters(loss, component)):
        raise ContractError(
            f"the component '{component.name}'", f"loss returns {_describe(loss)}, not {SCALAR}"
        )
    measured = {"loss": _finite(loss, "loss", component)}
    if known is not None:
        found_by_id = {id(parameter): gradient for parameter, gradient in known[1]}
        for parameter in own:
            parameter.grad = found_by_id.get(id(parameter))
    elif loss.requires_grad:
        loss.backward(inputs=own)

    record: StepRecord | None = None
    if method is not None:
        if method.records_steps:
            record = StepRecord(
                batch, measured["loss"], gradients(component), parameters(component)
            )
        penalty = method.penalty(component, batch)
        if penalty is not None:
            if not (_is_scalar(penalty) or _is_of_frozen_parameters(penalty, component)):
                _refuse(method, f"penalty returns {_describe(penalty)}, not {SCALAR}, nor None")
            measured["penalty"] = _finite(penalty, "penalty", component)
            if penalty.requires_grad:
                penalty.backward(inputs=own)  # type: ignore[no-untyped-call]
        if method.transforms_gradients:
            found = gradients(component, copy=False)
            _assign_gradients(component, method, method.transform_gradient(component, found))

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


def _assign_gradients(component: Component, method: ContinualMethod, transformed: Any) -> None:
    if not isinstance(transformed, Mapping):
        _refuse(method, f"transform_gradient returns {_describe(transformed)}, not a dict")
    for name, parameter in trainable(component).items():
        gradient = transformed.get(name)
        if not isinstance(gradient, Tensor) or gradient.shape != parameter.shape:
            _refuse(
                method,
                f"transform_gradient returns {_describe(gradient)} for the parameter '{name}', not "
                f"a tensor of its shape {tuple(parameter.shape)}",
            )
        parameter.grad = gradient


def _refuse(method: ContinualMethod, problem: str) -> NoReturn:
    name = type(method).__name__ if method.made_as is None else f"'{method.made_as[0]}'"
    raise ContractError(f"the method {name}", problem)


def _is_scalar(value: object) -> bool:
    """Whether it is one number that depends on what is learned."""
    return isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad


def _is_of_frozen_parameters(value: object, component: Objective) -> bool:
    """Whether it is one number, such as a loss of old rows whose networks a method has frozen."""
    frozen = any(not parameter.requires_grad for parameter in component.module.parameters())
    return frozen and isinstance(value, Tensor) and value.numel() == 1


def _describe(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.numel() == 1:
        return "a tensor without a gradient"
    return f"a tensor {tuple(value.shape)}"


def _finite(value: Tensor, quantity: str, component: Objective) -> float:
    number = value.item()
    if not math.isfinite(number):
        component.optimizer.zero_grad(set_to_none=True)
        raise NonFiniteError(quantity, component.name, number)
    return number
