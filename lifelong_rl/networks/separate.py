"""A multi-layer perceptron per task, with nothing between them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from lifelong_rl.networks.mlp import MultiHeadMLP
from lifelong_rl.networks.progressive import choose_outputs, tasks_present
from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork


class SeparateMLP(TaskNetwork):
    """A fresh network for each task; only those of the tasks in a batch are evaluated.

    With one task this is `MultiHeadMLP`, and the same seed gives the same network.

    Args:
        spec: The shape of each network.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.columns = nn.ModuleList(
            MultiHeadMLP(replace(spec, num_tasks=1)) for _ in range(spec.num_tasks)
        )

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        tasks = tasks_present(task, self.spec.num_tasks)
        return choose_outputs([self.columns[index](inputs) for index in tasks], tasks, task)
