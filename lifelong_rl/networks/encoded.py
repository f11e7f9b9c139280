"""Multi-layer perceptron that wires its layers anew for every task (Liu & Liu 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lifelong_rl.networks.mlp import MultiHeadMLP
from lifelong_rl.networks.spec import NetworkSpec, tasks_of_rows


class FeatureEncoding(nn.Module):
    """A fixed permutation of the features for each task (Liu & Liu 2022, definition 4.1).

    Nothing is learned: the order of task k is drawn with k as the seed. That of the first task is
    the identity, which is a mere naming of the units.

    Args:
        num_tasks: Number of permutations.
        units: Number of features.
        depth: Index of the layer before, so that layers have orders of their own.
    """

    orders: Tensor

    def __init__(self, num_tasks: int, units: int, depth: int) -> None:
        super().__init__()
        orders = [torch.arange(units)]
        for task in range(1, num_tasks):
            generator = torch.Generator().manual_seed(1000 * depth + task)
            orders.append(torch.randperm(units, generator=generator))
        self.register_buffer("orders", torch.stack(orders))

    def forward(self, features: Tensor, task: Tensor | None) -> Tensor:
        """Permute (copies, n, units) row by row; task is (n,) of int64, or None."""
        if task is None or len(self.orders) == 1:
            return features
        order = self.orders[task]
        return torch.take_along_dim(features, order.unsqueeze(0), dim=2)


class EncodedMLP(MultiHeadMLP):
    """`MultiHeadMLP` with a `FeatureEncoding` between hidden layers.

    None is needed before the heads, which are a task's own. With one task, and for the first of
    several, this is `MultiHeadMLP`, and the same seed gives the same network. LayerNorm keeps its
    first scale and shift: the projection of gradients could not hold them.

    Args:
        spec: The shape.

    References:
        Liu & Liu 2022, Continual learning with recursive gradient optimization, section 4.1.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        self.encodings = nn.ModuleList(
            FeatureEncoding(spec.num_tasks, units, depth)
            for depth, units in enumerate(spec.features[:-1])
        )
        for norm in (self.norm, *self.norms):
            if norm is not None:
                norm.requires_grad_(False)

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        task = tasks_of_rows(task, self.spec.num_tasks)
        x = self.activate(0, self.hidden[0](inputs))
        for depth, encoding in enumerate(self.encodings, start=1):
            x = self.activate(depth, self.hidden[depth](encoding(x, task)))
        return self.head(x, task)
