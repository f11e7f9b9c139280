"""What follows the hidden layers of a network, by name."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class CReLU(nn.Module):
    """Concatenated ReLU: of x, the positive part of x and that of −x, side by side.

    A unit has two activations, one of which is alive wherever x is not 0, and the next layer reads
    twice as many: with as many units, a network has more weights than with ReLU.

    References:
        Shang et al. 2016, Understanding and improving convolutional neural networks via
        concatenated rectified linear units, definition 2.1.
        Abbas et al. 2023, Loss of plasticity in continual deep reinforcement learning.
    """

    width: ClassVar[int] = 2

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (..., units) to (..., 2 units)."""
        return torch.cat([inputs, -inputs], dim=-1).relu()


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "crelu": CReLU}
"""By the name that the option `activation` of an agent has for them."""


def width_of(activation: type[nn.Module]) -> int:
    """How many activations a unit has."""
    width: int = getattr(activation, "width", 1)
    return width
