"""Adam without the compiler that torch's own imports."""

from __future__ import annotations

import inspect
from typing import Any

import torch

_STEP = inspect.unwrap(torch.optim.Adam.step)


class Adam(torch.optim.Adam):
    """`torch.optim.Adam` that does not import `torch._dynamo`.

    torch wraps these methods of its optimizers for `torch.compile`, and the wrappers import the
    compiler, and with it sympy, when the first optimizer is built. Here they are the methods that
    torch wraps, so that the numbers are the same bit for bit and only what is compiled pays for
    the compiler. A compiled function may step this optimizer too.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)

    def step(self, closure: Any = None) -> Any:
        """Step as torch does; see `torch.optim.Adam.step`."""
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return _STEP(self, closure)
