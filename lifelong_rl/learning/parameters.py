"""The parameters of a component and their gradients, by name or as one vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

from lifelong_rl.learning.protocols import Batch, Component, Gradient, Objective, ParamDict


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


def forget_moments(optimizer: Optimizer, parameters: Iterable[Tensor]) -> None:
    """Drop what an optimizer keeps of some parameters, and of no others, such as Adam's moments.

    For parameters that were made anew: moments of the old ones would move them at once, and with a
    step size that fits the old gradients.
    """
    for parameter in parameters:
        optimizer.state.pop(parameter, None)


def analytic_gradient(component: Objective, batch: Batch) -> Gradient | None:
    """A component's loss and each parameter's gradient, where it has formulae for them.

    Components may have a method `analytic_gradient(batch)` that gives these, or None. It is not
    asked where an instance was given another `loss` than its class has.
    """
    written = getattr(component, "analytic_gradient", None)
    if written is None or "loss" in vars(component):
        return None
    found: Gradient | None = written(batch)
    return found


def loss_gradient(component: Component, batch: Batch) -> ParamDict:
    """Gradient of the component's loss on `batch`; the gradients that it holds are untouched.

    It is zero where the loss depends on nothing that is trained, such as that of an old task whose
    parameters are frozen.
    """
    named = trainable(component)
    known = analytic_gradient(component, batch)
    if known is not None:
        by_parameter = {id(parameter): gradient for parameter, gradient in known[1]}
        return {
            name: by_parameter.get(id(parameter), torch.zeros_like(parameter))
            for name, parameter in named.items()
        }
    loss = component.loss(batch)
    found: tuple[Tensor | None, ...] = (None,) * len(named)
    if loss.requires_grad:
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(named.items(), found, strict=True)
    }


def flatten(params: Mapping[str, Tensor]) -> Tensor:
    """All entries one after the other in the dictionary's order, (p,)."""
    return torch.cat([value.reshape(-1) for value in params.values()])


def unflatten(vector: Tensor, like: Mapping[str, Tensor]) -> ParamDict:
    """Undo `flatten`: views of `vector` (p,) with the names, order and shapes of `like`."""
    parts = torch.split(vector, [value.numel() for value in like.values()])
    return {
        name: part.view(value.shape)
        for (name, value), part in zip(like.items(), parts, strict=True)
    }
