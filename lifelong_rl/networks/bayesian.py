"""Bayesian multi-layer perceptron: a Gaussian over every weight (Nguyen et al. 2018)."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from lifelong_rl.networks.mlp import ALL, MultiHeadMLP, StackedLinear
from lifelong_rl.networks.spec import NetworkSpec


class BayesianLinear(StackedLinear):
    """Linear layers with independent Gaussians over their weights.

    In training mode the outputs are sampled, by local reparametrisation (Kingma et al. 2015, eq.
    6): each row draws weights of its own, at the cost of a second matrix product. In evaluation
    mode the mean weights are used.

    Args:
        mean: The layers whose parameters become the means.
        std: Standard deviation of all weights at first.
    """

    def __init__(self, mean: StackedLinear, std: float) -> None:
        nn.Module.__init__(self)
        self.weight, self.bias = mean.weight, mean.bias
        self.weight_log_std = nn.Parameter(torch.full_like(mean.weight, math.log(std)))
        self.bias_log_std = nn.Parameter(torch.full_like(mean.bias, math.log(std)))

    def forward(self, inputs: Tensor, rows: slice = ALL) -> Tensor:
        """Map (n, in), shared by all copies, or (copies, n, in) to (copies, n, out)."""
        mean = super().forward(inputs, rows)
        if not self.training:
            return mean
        squares = inputs.square().expand(len(mean), -1, -1)
        weight_variance = (2 * self.weight_log_std[:, rows]).exp().transpose(1, 2)
        bias_variance = (2 * self.bias_log_std[:, rows]).exp().unsqueeze(1)
        variance = torch.baddbmm(bias_variance, squares, weight_variance)
        return torch.addcmul(mean, variance.sqrt(), torch.randn_like(mean))


class BayesianMLP(MultiHeadMLP):
    """`MultiHeadMLP` whose weights have means and standard deviations.

    The same seed gives the means that `MultiHeadMLP` would have as weights, and in evaluation mode
    the two are the same function. LayerNorm keeps its first scale and shift: they have no
    posterior that could hold them.

    Args:
        spec: The shape.
        std: Standard deviation of all weights at first.
    """

    def __init__(self, spec: NetworkSpec, std: float) -> None:
        super().__init__(spec)
        self.hidden = nn.ModuleList(BayesianLinear(layer, std) for layer in self.hidden_layers)
        self.heads = BayesianLinear(self.heads, std)
        for norm in (self.norm, *self.norms):
            if norm is not None:
                norm.requires_grad_(False)

    @property
    def head_size(self) -> int:
        """How many weights the head of one task has, in all copies."""
        outputs = self.spec.output_dim
        return self.heads.weight[:, :outputs].numel() + self.heads.bias[:, :outputs].numel()

    def posterior(self, task: int) -> tuple[Tensor, Tensor]:
        """What a task's predictions use: the trunk, then the task's head.

        Args:
            task: From 0; of no effect when there is one head for all.

        Returns:
            Means and log standard deviations, (p,) each.
        """
        first = task * self.spec.output_dim if self.spec.num_tasks > 1 else 0
        rows = slice(first, first + self.spec.output_dim)
        heads = cast(BayesianLinear, self.heads)
        mean = [heads.weight[:, rows], heads.bias[:, rows]]
        log_std = [heads.weight_log_std[:, rows], heads.bias_log_std[:, rows]]
        for layer in reversed([cast(BayesianLinear, layer) for layer in self.hidden]):
            mean = [layer.weight, layer.bias, *mean]
            log_std = [layer.weight_log_std, layer.bias_log_std, *log_std]
        return _flat(mean), _flat(log_std)


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
