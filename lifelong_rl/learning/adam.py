"""Adam without what torch's own brings along: its compiler, hooks and records for the profiler."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

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


class FusedAdam(Adam):
    """`Adam` with ``fused=True``: the same steps and state, less time around them.

    Args:
        params: All on one device.
        lr: Step size.
        betas: Decay of the moments.
        eps: Added to the denominator.
        weight_decay: Weight of an L2 penalty.

    References:
        Kingma & Ba 2015, Adam: a method for stochastic optimization.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Step all parameters that hold a gradient.

        Raises:
            TypeError: A closure is given.
        """
        if closure is not None:
            raise TypeError("FusedAdam takes no closure")
        for before in self._optimizer_step_pre_hooks.values():
            before(self, (), {})
        for group in self.param_groups:
            params: list[Tensor] = []
            gradients: list[Tensor] = []
            means: list[Tensor] = []
            squares: list[Tensor] = []
            counts: list[Tensor] = []
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
                params.append(parameter)
                gradients.append(gradient)
                means.append(state["exp_avg"])
                squares.append(state["exp_avg_sq"])
                counts.append(state["step"])
            if not params:
                continue
            if len(params) == len(group["params"]):
                counts = self._count_together(params, counts)
            else:
                for count in counts:
                    count.add_(1)
            torch._fused_adam_(
                params,
                gradients,
                means,
                squares,
                [],
                counts,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
        for after in self._optimizer_step_post_hooks.values():
            after(self, (), {})

    def _count_together(self, params: list[Tensor], counts: list[Tensor]) -> list[Tensor]:
        """Add 1 to all counts at once, as views of one tensor; what the state holds from now on."""
        none: tuple[Tensor | None, list[Tensor]] = (None, [])
        together, views = vars(self).get("_counts", none)  # a copy has none
        if together is None or [*map(id, views)] != [*map(id, counts)]:
            together = torch.stack(counts)
            views = list(together.unbind())
            for parameter, view in zip(params, views, strict=True):
                self.state[parameter]["step"] = view
            self._counts = together, views
        together.add_(1)
        found: list[Tensor] = views
        return found

    # Not to be wrapped by torch: a record for the profiler takes as long as a small network's step.
    step.hooked = True  # type: ignore[attr-defined]
