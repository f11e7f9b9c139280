"""Two multi-layer perceptrons: one for the task at hand, one for all others."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from lifelong_rl.networks.mlp import MultiHeadMLP
from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork, one_task, tasks_of_rows

NO_TASK = -1


class OnlineAndContinualMLP(TaskNetwork):
    """An online network answers for the task at hand, a continual one for every other.

    With one task and that at hand this is `MultiHeadMLP`, and the same seed gives the same network.

    Args:
        spec: The shape of the continual network; the online one has a single head.

    Attributes:
        current: The task at hand, a scalar of int64; `NO_TASK` between tasks.
    """

    current: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.online = MultiHeadMLP(replace(spec, num_tasks=1))
        self.continual = MultiHeadMLP(spec)
        self.register_buffer("current", torch.tensor(NO_TASK))

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        current, tasks = int(self.current), self.spec.num_tasks
        index = one_task(task, tasks)
        if current == NO_TASK or (index is not None and index != current):
            outputs: Tensor = self.continual(inputs, task)
        elif index is not None:
            outputs = self.online(inputs)
        else:
            numbers = tasks_of_rows(task, tasks)
            assert numbers is not None
            at_hand = (numbers == current).unsqueeze(1)
            outputs = torch.where(at_hand, self.online(inputs), self.continual(inputs, task))
        return outputs

    def turn_to(self, task_id: int) -> None:
        """Let the online network answer for a task; for none with `NO_TASK`."""
        self.current.fill_(task_id)


def online_networks(module: nn.Module) -> list[MultiHeadMLP]:
    """The networks of a module that learn the task at hand: all but the continual ones."""
    parts = list(module.modules())
    continual = [id(part.continual) for part in parts if isinstance(part, OnlineAndContinualMLP)]
    return [p for p in parts if isinstance(p, MultiHeadMLP) and id(p) not in continual]
