"""Progressive network: a multi-layer perceptron per task with connections from the earlier ones."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from lifelong_rl.networks.activations import width_of
from lifelong_rl.networks.mlp import MultiHeadMLP, StackedLinear
from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork, tasks_of_rows


class Lateral(nn.Module):
    """What a layer gets from the layers below it in earlier columns, through an adapter.

    U σ(V [α_1 h_1, …, α_k h_k]), the second term of Rusu et al. 2016, eq. 2. U starts at zero, so a
    new column starts as a fresh network does, whatever the scale of the earlier columns' features;
    the learned scales α, small and random in the paper, start at 1.

    Args:
        spec: Gives activation and copies.
        earlier: Number of earlier columns, k.
        in_dim: Units of each h.
        adapter_dim: Units of the adapter.
        out_dim: Units of the layer.
    """

    def __init__(
        self, spec: NetworkSpec, earlier: int, in_dim: int, adapter_dim: int, out_dim: int
    ) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.ones(earlier, spec.copies, 1, 1))
        self.adapter = StackedLinear(
            [[nn.Linear(earlier * in_dim, adapter_dim)] for _ in range(spec.copies)]
        )
        self.activation = spec.activation()
        width = width_of(spec.activation)
        self.output = nn.Parameter(torch.zeros(spec.copies, width * adapter_dim, out_dim))

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map the earlier columns' (copies, n, in_dim) to (copies, n, out_dim)."""
        scaled = torch.cat(
            [f * scale for f, scale in zip(features, self.scales, strict=True)], dim=-1
        )
        hidden: Tensor = self.activation(self.adapter(scaled))
        return hidden @ self.output


class ProgressiveMLP(TaskNetwork):
    """A column for each task; its layers also read the features of all earlier columns.

    All columns exist from the start: checkpoints, target networks and optimizers need not grow.
    Columns after the last task in a batch are not evaluated, and no column reads from a later one,
    so an old task's output depends neither on later columns nor on the other rows of a batch. With
    one task this is `MultiHeadMLP`, and the same seed gives the same network.

    Args:
        spec: The shape of each column.
        adapter_dim: Units of each adapter.

    References:
        Rusu et al. 2016, Progressive neural networks, eq. 2.
    """

    def __init__(self, spec: NetworkSpec, adapter_dim: int) -> None:
        super().__init__()
        self.spec = spec
        self.columns = nn.ModuleList()
        self.laterals = nn.ModuleList()
        for earlier in range(spec.num_tasks):
            self.columns.append(MultiHeadMLP(replace(spec, num_tasks=1)))
            self.laterals.append(
                nn.ModuleList(
                    Lateral(spec, earlier, a, adapter_dim, b)
                    for a, b in zip(
                        spec.features, (*spec.hidden[1:], spec.output_dim), strict=False
                    )
                    if earlier
                )
            )

    def task_modules(self, task_id: int) -> tuple[nn.Module, nn.Module]:
        """The column of a task and the lateral connections into it."""
        return self.columns[task_id], self.laterals[task_id]

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        tasks = tasks_present(task, self.spec.num_tasks)
        below = [inputs] * (tasks[-1] + 1)
        for depth in range(len(self.spec.hidden)):
            below = [
                self._column(index).activate(depth, self._layer(index, depth, below))
                for index in range(len(below))
            ]
        outputs = [self._layer(index, len(self.spec.hidden), below) for index in tasks]
        return choose_outputs(outputs, tasks, task)

    def _layer(self, index: int, depth: int, below: list[Tensor]) -> Tensor:
        """Layer `depth` of a column before its activation, given all columns' features below."""
        column = self._column(index)
        layer = column.hidden[depth] if depth < len(column.hidden) else column.heads
        own: Tensor = layer(below[index])
        if depth == 0 or index == 0:
            return own
        laterals = cast(nn.ModuleList, self.laterals[index])
        return torch.add(own, laterals[depth - 1](below[:index]))

    def _column(self, index: int) -> MultiHeadMLP:
        return cast(MultiHeadMLP, self.columns[index])


def tasks_present(task: Tensor | None, num_tasks: int) -> list[int]:
    """The tasks that rows belong to, in ascending order, given the task (n,) of each."""
    task = tasks_of_rows(task, num_tasks)
    if task is None:
        return [0]
    try:
        return sorted(set(task.tolist())) or [0]  # no rows, so any column will do
    except RuntimeError:  # under vmap values cannot be read: any task may be present
        return list(range(num_tasks))


def choose_outputs(outputs: list[Tensor], tasks: list[int], task: Tensor | None) -> Tensor:
    """Pick for each row the output of its task.

    Args:
        outputs: For each of `tasks`, what it puts out on all rows, (copies, n, out).
        tasks: The tasks that rows belong to, see `tasks_present`.
        task: Of each row, (n,) of int64; None only with one task.

    Returns:
        (copies, n, out).
    """
    if task is None or len(tasks) == 1:
        return outputs[0]
    position = torch.zeros(tasks[-1] + 1, dtype=torch.int64, device=task.device)
    position[tasks] = torch.arange(len(tasks), device=task.device)
    chosen = position[task].view(1, -1, 1, 1)
    return torch.take_along_dim(torch.stack(outputs, dim=2), chosen, dim=2).squeeze(2)
