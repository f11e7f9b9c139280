"""Networks that follow others slowly, for bootstrapped targets."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TargetNetworks:
    """Which networks are followed by which targets.

    Args:
        *pairs: A network and its target, of the same shape, each.
    """

    def __init__(self, *pairs: tuple[nn.Module, nn.Module]) -> None:
        self._followed: list[Tensor] = [p for source, _ in pairs for p in source.parameters()]
        self._following: list[Tensor] = [p for _, target in pairs for p in target.parameters()]
        self._buffers = [
            (target_buffer, buffer)
            for source, target in pairs
            for target_buffer, buffer in zip(target.buffers(), source.buffers(), strict=True)
        ]

    def update(self, tau: float) -> None:
        """Move the targets by the share `tau` of the way towards the networks."""
        with torch.no_grad():
            torch._foreach_lerp_(self._following, self._followed, tau)
            for target, buffer in self._buffers:
                target.copy_(buffer)  # such as a method's masks: they have no values in between
