"""A component as a function of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn
from torch.func import functional_call

from lifelong_rl.learning.protocols import Component, ParamDict

T = TypeVar("T")


def call_with(
    component: Component, parameters: ParamDict, function: Callable[..., T], *args: Any
) -> T:
    """Return ``function(*args)`` as if the component's module had other parameters.

    Args:
        component: What `function` uses: its `predict` or `loss`.
        parameters: Values by name, as in `component.module.named_parameters()`; names left out
            keep their values, buffers too.
        function: Anything that calls the component.
        *args: Passed on to it.
    """
    named = {f"module.{name}": value for name, value in parameters.items()}
    result: T = functional_call(_Caller(component.module), named, (function, *args))
    return result


class _Caller(nn.Module):
    """Holds the module, so that `functional_call` can swap its parameters around a call."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)
