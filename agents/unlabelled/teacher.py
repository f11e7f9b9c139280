"""A copy of the network that an objective keeps."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lifelong_rl.learning import StateTree


class Teacher:
    """A copy of the network, which teaches it and is not learned; there is none until one is made.

    Attributes:
        module: The copy; None until there is one.
    """

    def __init__(self) -> None:
        self.module: nn.Module | None = None

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The copy, if there is one."""
        return () if self.module is None else (self.module,)

    def become(self, module: nn.Module) -> None:
        """Copy a network as it is now."""
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.module.train()

    @torch.no_grad()
    def average(self, module: nn.Module, decay: float) -> None:
        """Move every parameter: decay · own + (1 − decay) · that of the network.

        Buffers are taken over. Where the network has another shape than the copy, because its
        method has made it larger, it is copied anew.
        """
        own = {} if self.module is None else dict(self.module.named_parameters())
        others = dict(module.named_parameters())
        if {n: p.shape for n, p in own.items()} != {n: p.shape for n, p in others.items()}:
            self.become(module)
            return
        for name, parameter in own.items():
            parameter.lerp_(others[name], 1 - decay)
        assert self.module is not None
        for buffer, other in zip(self.module.buffers(), module.buffers(), strict=True):
            buffer.copy_(other)

    @torch.no_grad()
    def logits(self, rows: Tensor, task: Tensor | None) -> Tensor:
        """What it says of rows."""
        assert self.module is not None
        found: Tensor = self.module(rows, task)[0]
        return found

    def state_dict(self) -> StateTree:
        """Its parameters and buffers."""
        return {} if self.module is None else dict(self.module.state_dict())

    def load_state_dict(self, state: StateTree, module: nn.Module) -> None:
        """Take over a state, in a copy of a network of the same shape."""
        self.module = None
        if state:
            self.become(module)
            assert self.module is not None
            self.module.load_state_dict(dict(state))
