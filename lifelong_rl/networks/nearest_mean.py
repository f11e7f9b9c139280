"""A multi-head network that classifies by the nearest class mean when it is evaluated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.errors import UserError
from lifelong_rl.networks.mlp import MultiHeadMLP
from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork


class NearestMeanMLP(TaskNetwork):
    """`MultiHeadMLP` while it learns; nearest-mean classification in evaluation mode.

    The output of a row is then −‖φ(x) − μ_y‖² for each class y of its task, with φ the normalised
    features below the heads (Rebuffi et al. 2017, eq. 2 and algorithm 1); tasks whose means have
    not been set still use their heads.

    Args:
        spec: The shape; one output group, an entry for each class.

    Raises:
        UserError: The outputs cannot be classes.
    """

    means: Tensor
    known: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        if spec.copies != 1 or len(spec.outputs) != 1:
            raise UserError("icarl classifies: it is for agents that learn classes")
        self.spec = spec
        self.network = MultiHeadMLP(spec)
        shape = (spec.num_tasks, spec.output_dim, spec.features[-1])
        self.register_buffer("means", torch.zeros(shape))
        self.register_buffer("known", torch.zeros(spec.num_tasks, dtype=torch.bool))

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Classify every row, (1, n, classes); see `TaskNetwork`."""
        outputs: Tensor = self.network(inputs, task)
        if self.training or not self.known.any():
            return outputs
        task_id = inputs.new_zeros(len(inputs), dtype=torch.int64) if task is None else task
        distances = self.features(inputs).unsqueeze(1) - self.means[task_id]
        nearness = -distances.square().sum(dim=2)
        return torch.where(self.known[task_id].unsqueeze(1), nearness, outputs[0]).unsqueeze(0)

    def features(self, inputs: Tensor) -> Tensor:
        """φ, the last hidden layer's activations, each row of length 1: (n, units)."""
        x = inputs
        for depth, layer in enumerate(self.network.hidden):
            x = self.network.activate(depth, layer(x))
        return F.normalize(x.squeeze(0), dim=1)

    def set_mean(self, task_id: int, label: int, mean: Tensor) -> None:
        """Set the mean of a class, (units,), and classify its task's rows by means from now on."""
        if not self.known[task_id]:
            self.means[task_id] = torch.inf  # a class without examples is never the nearest
            self.known[task_id] = True
        self.means[task_id, label] = mean
