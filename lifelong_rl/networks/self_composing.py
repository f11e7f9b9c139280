"""Self-composing policies: a module per task that attends over what earlier ones put out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from lifelong_rl.networks.mlp import MultiHeadMLP
from lifelong_rl.networks.progressive import choose_outputs, tasks_present
from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork


class AttentionHead(nn.Module):
    """A mean of rows, weighted by scaled dot-product attention of the inputs to them.

    softmax(q Kᵀ / √d) Φ with q = x W_Q and K = (Φ + E) W_K, where E tells the positions of the
    rows (Malagon et al. 2024, section 4.2). K qᵀ is computed as (Φ + E) (W_K qᵀ), without keys, so
    that its cost hardly grows with the number of rows. Of one row the mean is that row, and the
    attention to it learns nothing.

    Args:
        copies: Number of heads side by side.
        input_dim: Entries of x.
        row_dim: Entries of a row of Φ.
        model_dim: d.
    """

    def __init__(self, copies: int, input_dim: int, row_dim: int, model_dim: int) -> None:
        super().__init__()
        self.query = _weights(copies, input_dim, model_dim)
        self.key = _weights(copies, row_dim, model_dim)

    def forward(self, inputs: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        """Attend to the rows of each input.

        Args:
            inputs: x, (n, input_dim).
            rows: Φ, (copies, n, k, row_dim).
            positions: E, (k, row_dim).

        Returns:
            (copies, n, row_dim).
        """
        direction = inputs @ self.query @ self.key.mT
        scores = ((rows + positions) * direction.unsqueeze(2)).sum(dim=3, keepdim=True)
        weights = (scores / math.sqrt(self.query.shape[2])).softmax(dim=2)
        return (weights * rows).sum(dim=2)


class SelfComposingModule(nn.Module):
    """A policy that composes what earlier ones put out with one of its own.

    The output attention head proposes v, a mean of the earlier outputs Φ; the input attention head
    looks at v and Φ, [v; Φ], through values W_V; what it finds is an input of the internal policy
    beside x, whose output is added to v (Malagon et al. 2024, section 4.2 and figure 2).

    Args:
        spec: The shape of the internal policy but for what it reads of the input attention head.
        model_dim: Size of queries, keys and values.
    """

    def __init__(self, spec: NetworkSpec, model_dim: int) -> None:
        super().__init__()
        shape = (spec.copies, spec.input_dim, spec.output_dim, model_dim)
        self.output_head = AttentionHead(*shape)
        self.input_head = AttentionHead(*shape)
        self.value = _weights(spec.copies, spec.output_dim, model_dim)
        self.internal = MultiHeadMLP(
            replace(spec, num_tasks=1, input_dim=spec.input_dim + model_dim)
        )

    def forward(self, inputs: Tensor, earlier: Tensor, positions: Tensor) -> Tensor:
        """Map inputs x (n, in) and earlier outputs Φ (copies, n, k, out) to (copies, n, out).

        Args:
            inputs: x.
            earlier: Φ.
            positions: Encodings of at least k + 1 positions, (., out).
        """
        count = earlier.shape[2]
        proposed: Tensor = self.output_head(inputs, earlier, positions[:count])
        rows = torch.cat([proposed.unsqueeze(2), earlier], dim=2)
        context = self.input_head(inputs, rows, positions[: count + 1]) @ self.value
        stacked = inputs.expand(len(context), -1, -1)
        own: Tensor = self.internal(torch.cat([stacked, context], dim=2))
        return proposed + own


class SelfComposingMLP(TaskNetwork):
    """A module for each task; all but the first are `SelfComposingModule`s over those before.

    All modules exist from the start: checkpoints, target networks and optimizers need not grow.
    Those after the last task in a batch are not evaluated, and none reads from a later one. Each
    has as many parameters as the next, but for the first, which has no attention. With one task
    this is `MultiHeadMLP`, and the same seed gives the same network.

    Args:
        spec: The shape of each module.
        model_dim: Size of queries, keys and values.

    References:
        Malagon et al. 2024, Self-composing policies for scalable continual reinforcement learning.
    """

    positions: Tensor

    def __init__(self, spec: NetworkSpec, model_dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.columns = nn.ModuleList([MultiHeadMLP(replace(spec, num_tasks=1))])
        self.columns.extend(SelfComposingModule(spec, model_dim) for _ in range(1, spec.num_tasks))
        encodings = encode_positions(spec.num_tasks, spec.output_dim)
        self.register_buffer("positions", encodings, persistent=False)

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        tasks = tasks_present(task, self.spec.num_tasks)
        found = [cast(Tensor, self.columns[0](inputs))]
        for module in self.columns[1 : tasks[-1] + 1]:
            found.append(module(inputs, torch.stack(found, dim=2), self.positions))
        return choose_outputs([found[index] for index in tasks], tasks, task)


def encode_positions(count: int, dim: int) -> Tensor:
    """Sines and cosines that tell positions apart, (count, dim).

    Entry 2i of position p is sin(p / 10000^(2i/dim)), entry 2i + 1 the cosine of the same.

    References:
        Vaswani et al. 2017, Attention is all you need, section 3.5.
    """
    entry = torch.arange(dim)
    rate = 10_000.0 ** -(2 * (entry // 2) / dim)
    angle = torch.arange(count).unsqueeze(1) * rate
    return torch.where(entry % 2 == 0, angle.sin(), angle.cos())


def _weights(copies: int, in_dim: int, out_dim: int) -> nn.Parameter:
    """Weights (copies, in, out), each initialised as those of `nn.Linear` are."""
    layers = [nn.Linear(in_dim, out_dim, bias=False) for _ in range(copies)]
    return nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
