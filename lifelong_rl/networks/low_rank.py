"""A multi-head network whose hidden layers tasks change by matrices of low rank."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lifelong_rl.networks.mlp import MultiHeadMLP
from lifelong_rl.networks.progressive import choose_outputs, tasks_present
from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork


class LowRankAdapter(nn.Module):
    """The change B A of a layer's weights, of rank r at most.

    B starts at zero (Hu et al. 2021, section 4.1), so that a new adapter changes nothing, and A as
    the weights of a linear layer do, as in the authors' code, where the paper has a Gaussian.

    Args:
        copies: Number of layers side by side.
        in_dim: Inputs of the layer.
        rank: r.
        out_dim: Units of the layer.
    """

    def __init__(self, copies: int, in_dim: int, rank: int, out_dim: int) -> None:
        super().__init__()
        layers = [nn.Linear(in_dim, rank, bias=False) for _ in range(copies)]
        self.down = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.up = nn.Parameter(torch.zeros(copies, out_dim, rank))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, in), shared by all copies, or (copies, n, in) to (copies, n, out)."""
        return inputs @ self.down.mT @ self.up.mT


class LowRankMLP(TaskNetwork):
    """`MultiHeadMLP` with low-rank adapters of its hidden layers for each task but the first.

    A row of task k > 0 is seen through the weights W + (α/r) B_k A_k of each hidden layer, one of
    task 0 through W alone. Biases, normalisation and W are the same for all tasks, and heads belong
    to their tasks. Adapters of all tasks exist from the start, so that checkpoints, target networks
    and optimizers need not grow; only those of the tasks in a batch are evaluated. With one task
    this is `MultiHeadMLP`, and the same seed gives the same network.

    Args:
        spec: The shape.
        rank: r.
        alpha: α.

    References:
        Hu et al. 2021, LoRA: low-rank adaptation of large language models, eq. 3.
    """

    def __init__(self, spec: NetworkSpec, rank: int, alpha: float) -> None:
        super().__init__()
        self.spec = spec
        self.scale = alpha / rank
        self.network = MultiHeadMLP(spec)
        shapes = [*zip((spec.input_dim, *spec.features), spec.hidden, strict=False)]
        self.adapters = nn.ModuleList(
            nn.ModuleList(LowRankAdapter(spec.copies, a, rank, b) for a, b in shapes)
            for _ in range(1, spec.num_tasks)
        )

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        tasks = tasks_present(task, self.spec.num_tasks)
        return choose_outputs([self._evaluate(inputs, index) for index in tasks], tasks, task)

    def adapters_of(self, task_id: int) -> list[nn.Module]:
        """The adapters of a task, one for each hidden layer; none for the first task."""
        return [] if task_id == 0 else [*self.adapters[task_id - 1].children()]

    def _evaluate(self, inputs: Tensor, task_id: int) -> Tensor:
        """Every row as one of a task: (copies, n, out)."""
        x = inputs
        adapters = self.adapters_of(task_id)
        for depth, layer in enumerate(self.network.hidden):
            y = layer(x)
            if adapters:
                y = torch.add(y, adapters[depth](x), alpha=self.scale)
            x = self.network.activate(depth, y)
        outputs: Tensor = self.network.heads(x, self.network.rows_of_head(task_id))
        return outputs
