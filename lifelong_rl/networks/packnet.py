"""A multi-head network whose shared weights each belong to a task (Mallya & Lazebnik 2018)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lifelong_rl.networks.mlp import MultiHeadMLP
from lifelong_rl.networks.progressive import choose_outputs, tasks_present
from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork


class PackNetMLP(TaskNetwork):
    """`MultiHeadMLP` in which a row of task k uses the trunk's weights that tasks 0 … k own.

    The owner of each weight is kept in a buffer, with `spec.num_tasks` for a weight that is free.
    At first task 0 owns all, so a new network is `MultiHeadMLP` with the same initial weights. In
    a batch of several tasks each row is seen through its own task's mask.

    Args:
        spec: The shape.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.network = MultiHeadMLP(spec)
        for depth, weight in enumerate(self._weights()):
            self.register_buffer(f"owner_{depth}", torch.zeros_like(weight, dtype=torch.int16))

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        tasks = tasks_present(task, self.spec.num_tasks)
        owned = self.owned_weights()
        outputs = []
        for index in tasks:
            masked = {name: weight * (owner <= index) for name, (weight, owner) in owned.items()}
            outputs.append(functional_call(self.network, masked, (inputs, task), tie_weights=False))
        return choose_outputs(outputs, tasks, task)

    def owned_weights(self) -> dict[str, tuple[nn.Parameter, Tensor]]:
        """The weights that have owners, and these, (copies, out, in) each.

        The names are those in `self.network`.
        """
        return {
            f"hidden.{depth}.weight": (weight, getattr(self, f"owner_{depth}"))
            for depth, weight in enumerate(self._weights())
        }

    def claim(self, task_id: int) -> None:
        """Give all free weights to a task."""
        for _, owner in self.owned_weights().values():
            owner[owner == self.spec.num_tasks] = task_id

    @torch.no_grad()
    def prune(self, task_id: int, keep: float) -> None:
        """Free the smallest of a task's weights, by magnitude in each layer and copy, at zero.

        Args:
            task_id: Whose weights.
            keep: The share that the task keeps, in [0, 1].
        """
        for weights, owners in self.owned_weights().values():
            for weight, owner in zip(weights, owners, strict=True):
                index = (owner.view(-1) == task_id).nonzero().squeeze(1)
                order = weight.view(-1)[index].abs().argsort(descending=True, stable=True)
                freed = index[order[round(keep * len(index)) :]]
                owner.view(-1)[freed] = self.spec.num_tasks
                weight.view(-1)[freed] = 0

    def _weights(self) -> Iterator[nn.Parameter]:
        return (layer.weight for layer in self.network.hidden_layers)
