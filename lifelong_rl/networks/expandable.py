"""A multi-head network that grows by units with time stamps (Yoon et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from lifelong_rl.errors import UserError
from lifelong_rl.networks.activations import width_of
from lifelong_rl.networks.mlp import MultiHeadMLP, StackedLinear
from lifelong_rl.networks.progressive import choose_outputs, tasks_present
from lifelong_rl.networks.spec import NetworkSpec, TaskNetwork


class ExpandableMLP(TaskNetwork):
    """`MultiHeadMLP` whose hidden units each have a time stamp: the task that brought them.

    A row of task k is evaluated with the units stamped 0 … k, and normalised over them, so what
    later tasks add does not reach it (Yoon et al. 2018, "timestamped inference"). Units to come
    are allocated from the start, with the stamp `spec.num_tasks`: checkpoints, target networks and
    optimizers need not grow. They are not computed: the first units that are free are taken first,
    and evaluation ends with the last that a row sees. With one task this is `MultiHeadMLP`, and the
    same seed gives the same network.

    Args:
        spec: The shape, as it is for the first task.
        growth: Units that each later task may add to each hidden layer.

    Raises:
        UserError: A unit has several activations, or every layer has LayerNorm.
    """

    def __init__(self, spec: NetworkSpec, growth: int) -> None:
        super().__init__()
        if spec.layer_norm == "every" or width_of(spec.activation) > 1:
            raise UserError(
                "den adds units one by one to layers without LayerNorm of their own, each with one "
                "activation: leave layer_norm at true or false, and activation at relu or tanh"
            )
        self.spec = spec
        self.growth = growth
        room = growth * (spec.num_tasks - 1)
        self.network = MultiHeadMLP(replace(spec, hidden=tuple(w + room for w in spec.hidden)))
        for depth, width in enumerate(spec.hidden):
            stamp = torch.full((spec.copies, width + room), spec.num_tasks, dtype=torch.int16)
            stamp[:, :width] = 0
            self.register_buffer(f"stamp_{depth}", stamp)

    @property
    def stamps(self) -> list[Tensor]:
        """The stamps of each hidden layer's units, (copies, units)."""
        return [getattr(self, f"stamp_{depth}") for depth in range(len(self.spec.hidden))]

    @property
    def hidden(self) -> list[StackedLinear]:
        """The hidden layers."""
        return self.network.hidden_layers

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """Evaluate every copy on every row; see `TaskNetwork`."""
        if self.spec.num_tasks == 1:
            output: Tensor = self.network(inputs, task)
            return output
        tasks = tasks_present(task, self.spec.num_tasks)
        return choose_outputs([self._evaluate(inputs, k) for k in tasks], tasks, task)

    def _evaluate(self, inputs: Tensor, task_id: int) -> Tensor:
        x = inputs.expand(self.spec.copies, -1, -1)
        for depth, (layer, stamp) in enumerate(zip(self.hidden, self.stamps, strict=True)):
            there = stamp <= task_id
            used = slice(int(there.any(dim=0).nonzero().max()) + 1)  # nothing follows but zeros
            active = there[:, used].unsqueeze(1)
            x = _linear(x, layer, used)
            if depth == 0 and self.network.norm is not None:
                normal = _normalise(x, active)
                norm = self.network.norm
                scaled = torch.addcmul(norm.bias[..., used], normal, norm.weight[..., used])
                x = torch.tanh(scaled)
            else:
                x = self.network.activation(x)
            x = x * active
        return _linear(x, self.network.heads, self.network.rows_of_head(task_id))

    def expand(self, task_id: int, count: int) -> None:
        """Stamp `count` units that are free in each layer and copy with a task."""
        for stamp in self.stamps:
            for of_copy in stamp:
                of_copy[self._free(of_copy)[:count]] = task_id

    def head(self, task_id: int) -> Tensor:
        """The weights of a task's head, (copies, out, units)."""
        out = self.spec.output_dim
        return self.network.heads.weight[:, task_id * out : (task_id + 1) * out]

    def incoming(self, task_id: int) -> list[Tensor]:
        """Each hidden layer's weights between what a task sees, zero elsewhere."""
        found = []
        below: Tensor | None = None
        for layer, stamp in zip(self.hidden, self.stamps, strict=True):
            weight = layer.weight if below is None else layer.weight * below.unsqueeze(1)
            below = stamp <= task_id
            found.append(weight * below.unsqueeze(2))
        return found

    @torch.no_grad()
    def select(self, task_id: int, threshold: float) -> list[Tensor]:
        """The units that a task's head depends on, found from the top down (algorithm 2).

        Args:
            task_id: Of the head.
            threshold: Connections below this share of the layer's largest count as none.

        Returns:
            (copies, units) of bool for each hidden layer.
        """
        selected: list[Tensor] = []
        above = self.head(task_id).abs()  # connections from the layer to what is selected above it
        for layer, stamp in reversed(list(zip(self.hidden, self.stamps, strict=True))):
            active = stamp <= task_id
            above = above * active.unsqueeze(1)
            strongest = above.amax(dim=(1, 2), keepdim=True)
            units = (above > threshold * strongest).any(dim=1)
            selected.insert(0, units)
            above = layer.weight.abs() * units.unsqueeze(2)
        return selected

    @torch.no_grad()
    def remove_idle(self, task_id: int, threshold: float) -> None:
        """Free the units of a task that group sparsity has left with hardly any input.

        Args:
            task_id: Whose units.
            threshold: Least norm of a unit's incoming weights, as a share of the mean norm of
                older units in its layer.
        """
        seen = self.incoming(task_id)
        for layer, incoming, stamp in zip(self.hidden, seen, self.stamps, strict=True):
            bound = 1 / math.sqrt(layer.weight.shape[2])
            for weight, norms, of_copy in zip(
                layer.weight, incoming.norm(dim=2), stamp, strict=True
            ):
                idle = (of_copy == task_id) & (norms < threshold * norms[of_copy < task_id].mean())
                of_copy[idle] = self.spec.num_tasks
                weight[idle] = torch.empty_like(weight[idle]).uniform_(-bound, bound)

    @torch.no_grad()
    def split(self, task_id: int, before: Mapping[str, Tensor], drift: float) -> list[Tensor]:
        """Duplicate old units that have drifted: the copy is new, the unit is as it was before.

        Those that drifted most come first, as long as the task may add units (algorithm 4).

        Args:
            task_id: The task that made them drift.
            before: The parameters before it, by their names in `self.network`.
            drift: Least distance of a unit's incoming weights and bias from those before.

        Returns:
            The units that are as they were before, (copies, units) of bool for each hidden layer.
        """
        restored = [torch.zeros_like(stamp, dtype=torch.bool) for stamp in self.stamps]
        old_inputs = torch.ones_like(self.hidden[0].weight[:, 0], dtype=torch.bool)
        for depth, (layer, stamp) in enumerate(zip(self.hidden, self.stamps, strict=True)):
            last = depth == len(self.hidden) - 1
            above = self.network.heads if last else self.hidden[depth + 1]
            old_weight = before[f"hidden.{depth}.weight"]
            change = (layer.weight - old_weight) * old_inputs.unsqueeze(1)
            old_bias = before[f"hidden.{depth}.bias"]
            moved = (change.square().sum(dim=2) + (layer.bias - old_bias).square()).sqrt()
            moved = torch.where(stamp < task_id, moved, 0)
            for copy, of_copy in enumerate(stamp):
                room = self.growth - int((of_copy == task_id).sum())
                order = moved[copy].argsort(descending=True)[: int((moved[copy] > drift).sum())]
                free = self._free(of_copy)[:room]
                units, copies = order[: len(free)], free[: len(order)]
                layer.weight[copy, copies] = layer.weight[copy, units]
                layer.bias[copy, copies] = layer.bias[copy, units]
                above.weight[copy][:, copies] = above.weight[copy][:, units]
                layer.weight[copy, units] = (old_weight * old_inputs.unsqueeze(1))[copy, units]
                layer.bias[copy, units] = old_bias[copy, units]
                if depth == 0 and self.network.norm is not None:
                    for name in ("weight", "bias"):
                        values = getattr(self.network.norm, name)[copy, 0]
                        values[copies] = values[units]
                        values[units] = before[f"norm.{name}"][copy, 0, units]
                of_copy[copies] = task_id
                restored[depth][copy, units] = True
            old_inputs = stamp < task_id
        return restored

    def _free(self, stamp: Tensor) -> Tensor:
        return (stamp == self.spec.num_tasks).nonzero().squeeze(1)


def _linear(x: Tensor, layer: StackedLinear, rows: slice) -> Tensor:
    """Some outputs of a layer, (copies, n, rows), of its first inputs, (copies, n, in)."""
    weight = layer.weight[:, rows, : x.shape[2]]
    return torch.baddbmm(layer.bias[:, rows].unsqueeze(1), x, weight.mT)


def _normalise(x: Tensor, active: Tensor) -> Tensor:
    """Layer normalisation of (copies, n, units) over the units that are active, (copies, 1, units).

    Others have no meaning afterwards.
    """
    count = active.sum(dim=-1, keepdim=True)
    mean = (x * active).sum(dim=-1, keepdim=True) / count
    deviation = (x - mean) * active
    variance = deviation.square().sum(dim=-1, keepdim=True) / count
    return deviation * torch.rsqrt(variance + 1e-5)
