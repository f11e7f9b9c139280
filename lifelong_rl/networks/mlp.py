"""Multi-layer perceptron with one output head per task, several copies evaluated at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork, tasks_of_rows


class StackedLinear(nn.Module):
    """`copies` linear layers side by side, each initialised as `nn.Linear` is.

    Twin critics run as one batched matrix product in place of two small ones.

    Args:
        layers: For each copy, the `nn.Linear` layers whose outputs are concatenated.
    """

    def __init__(self, layers: Sequence[Sequence[nn.Linear]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.stack([torch.cat([part.weight.detach() for part in copy]) for copy in layers])
        )
        self.bias = nn.Parameter(
            torch.stack([torch.cat([part.bias.detach() for part in copy]) for copy in layers])
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, in), shared by all copies, or (copies, n, in) to (copies, n, out)."""
        copies = len(self.weight)
        if copies == 1:
            rows = inputs if inputs.ndim == 2 else inputs.squeeze(0)
            return F.linear(rows, self.weight.squeeze(0), self.bias.squeeze(0)).unsqueeze(0)
        stacked = inputs.expand(copies, -1, -1) if inputs.ndim == 2 else inputs
        return torch.baddbmm(self.bias.unsqueeze(1), stacked, self.weight.transpose(1, 2))


class StackedLayerNorm(nn.Module):
    """Layer normalisation with a scale and shift for each copy."""

    def __init__(self, copies: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(copies, 1, dim))
        self.bias = nn.Parameter(torch.zeros(copies, 1, dim))

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise (copies, n, dim) over its last axis."""
        normal: Tensor = F.layer_norm(inputs, inputs.shape[-1:])
        return torch.addcmul(self.bias, normal, self.weight)


class MultiHeadMLP(TaskNetwork):
    """A trunk shared by all tasks and a linear head per task (Wolczyk et al. 2021, section 4).

    Initialised in the order of Stable-Baselines3's actor and critics, so that with one task the
    same seed gives the same network.

    Args:
        spec: The shape.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        widths = (spec.input_dim, *spec.hidden)
        hidden, heads = [], []
        for _ in range(spec.copies):
            hidden.append([nn.Linear(a, b) for a, b in pairwise(widths)])
            heads.append(
                [nn.Linear(widths[-1], out) for _ in range(spec.num_tasks) for out in spec.outputs]
            )
        self.hidden = nn.ModuleList(
            StackedLinear([[copy[depth]] for copy in hidden]) for depth in range(len(spec.hidden))
        )
        self.heads = StackedLinear(heads)
        self.norm = StackedLayerNorm(spec.copies, widths[1]) if spec.layer_norm else None
        self.activation: Callable[[Tensor], Tensor] = spec.activation()

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        x = inputs
        for depth, layer in enumerate(self.hidden):
            x = self.activate(depth, layer(x))
        return select_head(self.heads(x), task, self.spec.num_tasks)

    def activate(self, depth: int, x: Tensor) -> Tensor:
        """What follows hidden layer `depth`, on (copies, n, units)."""
        if depth == 0 and self.norm is not None:
            return torch.tanh(self.norm(x))
        return self.activation(x)


def select_head(outputs: Tensor, task: Tensor | None, num_tasks: int) -> Tensor:
    """Pick each row's head.

    Args:
        outputs: All heads side by side, (copies, n, num_tasks * out).
        task: Of each row, (n,) of int64; None only with one task.
        num_tasks: Number of heads.

    Returns:
        (copies, n, out).
    """
    task = tasks_of_rows(task, num_tasks)
    if task is None:
        return outputs
    # Rows first, so that gradients lie row by row in memory and are summed over rows in that order:
    # runs of versions that multiplied with a one-hot are repeated to the last bit.
    heads = outputs.unflatten(-1, (num_tasks, -1)).transpose(0, 1)  # type: ignore[no-untyped-call]
    index = task.view(-1, 1, 1, 1).expand(*heads.shape[:2], 1, heads.shape[3])
    # not take_along_dim, which gives task 7 of 5 the head of task 2
    chosen: Tensor = heads.gather(2, index)
    return chosen.squeeze(2).transpose(0, 1)
