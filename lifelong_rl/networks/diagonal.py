"""A multi-head network with a learned scale for each unit (Chung et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lifelong_rl.networks.mlp import MultiHeadMLP
from lifelong_rl.networks.spec import NetworkSpec


class DiagonalMLP(MultiHeadMLP):
    """`MultiHeadMLP` with orthogonal hidden layers at first, each with a diagonal layer after it.

    A diagonal layer multiplies each unit's sum of inputs with a scale of its own, before norm and
    activation. It gives back the freedom that weights lose when they are held orthogonal. All
    scales are 1 at first.

    Args:
        spec: The shape.
        gain: Of the hidden layers: their weights W begin with W Wᵀ = gain² I, or Wᵀ W = gain² I
            where a layer has more units than inputs. Biases begin at zero.
        diagonal: Whether there are diagonal layers.

    References:
        Chung et al. 2024, Parseval regularization for continual reinforcement learning.
    """

    def __init__(self, spec: NetworkSpec, gain: float, *, diagonal: bool = True) -> None:
        super().__init__(spec)
        for layer in self.hidden_layers:
            for weight in layer.weight:
                nn.init.orthogonal_(weight, gain)
            nn.init.zeros_(layer.bias)
        self.scales = nn.ParameterList(
            nn.Parameter(torch.ones(spec.copies, 1, units))
            for units in (spec.hidden if diagonal else ())
        )

    def activate(self, depth: int, x: Tensor) -> Tensor:
        """What follows hidden layer `depth`, on (copies, n, units)."""
        return super().activate(depth, x * self.scales[depth] if len(self.scales) else x)
