"""What a component asks of its network, independent of how a method builds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lifelong_rl.errors import UserError
from lifelong_rl.networks.activations import width_of

NormPlacement = bool | Literal["every"]
"""Where a network has LayerNorm; see `NetworkSpec.layer_norm`."""


@dataclass(frozen=True)
class NetworkSpec:
    """Shape of a task-conditioned network.

    Attributes:
        input_dim: Entries of an input row.
        hidden: Units of each hidden layer.
        outputs: Sizes of the output groups, e.g. (4, 4) for the means and log standard
            deviations of four actions. They are initialised one after the other, as separate
            linear layers would be, and concatenated.
        num_tasks: Number of tasks. With more than one the network has one output head per task,
            chosen row by row.
        activation: Follows each hidden layer.
        layer_norm: Put LayerNorm and tanh after the first layer in place of the activation, as
            Continual World does (Wolczyk et al. 2021, appendix A); or LayerNorm before the
            activation of every hidden layer.
        copies: Independent networks evaluated together (twin critics: 2).
    """

    input_dim: int
    hidden: tuple[int, ...]
    outputs: tuple[int, ...]
    num_tasks: int = 1
    activation: type[nn.Module] = nn.ReLU
    layer_norm: NormPlacement = False
    copies: int = 1

    @property
    def output_dim(self) -> int:
        """Entries of an output row."""
        return sum(self.outputs)

    @property
    def features(self) -> tuple[int, ...]:
        """Activations of each hidden layer."""
        width = width_of(self.activation)
        return tuple(
            units if depth == 0 and self.layer_norm is True else width * units
            for depth, units in enumerate(self.hidden)
        )


class TaskNetwork(nn.Module):
    """A network whose output depends on the task of each row.

    Contract: `forward(inputs, task)` with inputs (n, input_dim) and the tasks of the rows (n,) of
    int64, or None when there is one task, gives (copies, n, output_dim).
    """

    spec: NetworkSpec

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row."""
        raise NotImplementedError


def tasks_of_rows(task: Tensor | None, num_tasks: int) -> Tensor | None:
    """Check the tasks that a network is given.

    Returns:
        The tasks (n,); None when there is one task.

    Raises:
        ValueError: There are several tasks, and none is given.
        UserError: They are a one-hot.
    """
    if num_tasks == 1:
        return None
    if task is None:
        raise ValueError(f"a network of {num_tasks} tasks needs the task of each row")
    if task.ndim != 1 or task.is_floating_point():
        raise UserError(
            "a network takes the task of each row as a number, (n,) of int64, and no longer as a "
            "one-hot (n, num_tasks): pass one_hot.argmax(dim=1), or split observations with "
            "lifelong_rl.learning.split_task"
        )
    return task


def rows_of_task(index: int, n: int, device: torch.device) -> Tensor:
    """The task of `n` rows that are all of one, (n,) of int64, which `one_task` tells at once."""
    task = torch.full((1,), index, dtype=torch.int64, device=device).expand(n)
    task.one_task = index  # type: ignore[attr-defined]
    return task


def one_task(task: Tensor | None, num_tasks: int) -> int | None:
    """The task of all rows where that can be told without looking at each.

    Args:
        task: Of each row, (n,) of int64; None only with one task.
        num_tasks: Number of tasks.

    Returns:
        The task, if there is one only, if `task` is of `rows_of_task` or a single number, expanded;
        None otherwise.
    """
    if num_tasks == 1:
        return 0
    if task is None:
        return None
    index: int | None = getattr(task, "one_task", None)
    if index is None:
        if task.ndim != 1 or task.shape[0] < 2 or task.stride(0) != 0:
            return None
        index = int(task[0])
    return index if 0 <= index < num_tasks else None


def of_task(values: Tensor, task: Tensor | None) -> Tensor:
    """What belongs to each row's task.

    Args:
        values: Of each task, (num_tasks, ...).
        task: As for `one_task`.

    Returns:
        (n, ...), or (1, ...) where all rows are known to be of one task.
    """
    index = one_task(task, values.shape[0])
    return values[task] if index is None else values[index : index + 1]
