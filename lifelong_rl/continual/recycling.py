"""Units that are made anew: how useful they are, which are chosen, and the surgery on them.

The functions are pure but for `recycle`, which changes a network and what its optimizer keeps. A
layer's units are told apart in each copy of a network (twin critics), and feed all heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from lifelong_rl.errors import UserError
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree
from lifelong_rl.networks import MultiHeadMLP, TaskNetwork
from lifelong_rl.networks.features import recorded_features
from lifelong_rl.networks.mlp import StackedLinear


class Recycling(ContinualMethod):
    """Base of the methods that make units anew while the agent learns.

    They act before a step, on the batch that it is about to learn from: gradients are then those
    of the network that steps, and other methods see no jump within it. Switches of tasks are
    nothing to them.

    Only networks as agents make them are acted on. One that another method has made gives units or
    weights a meaning of their own, such as the task they belong to, which a new unit would break.
    """

    needs_boundaries: ClassVar[bool] = False

    def check_components(self, learner: Learner) -> None:
        """Refuse a learner with networks of another kind.

        Raises:
            UserError: A component has such a network, or no `MultiHeadMLP`.
        """
        super().check_components(learner)
        for component in self.components(learner).values():
            self._networks(component)

    def task_state(self) -> StateTree:
        """Nothing: all that is kept outlives a task."""
        return {}

    def _networks(self, component: Component) -> list[MultiHeadMLP]:
        """The networks of a component.

        Raises:
            UserError: There is none, or one is of another kind.
        """
        found = [part for part in component.module.modules() if isinstance(part, TaskNetwork)]
        networks = [part for part in found if type(part) is MultiHeadMLP]
        if not found or len(networks) < len(found):
            kinds = " and ".join(sorted({type(part).__name__ for part in found})) or "none"
            raise UserError(
                f"{type(self).__name__} makes units of plain networks (MultiHeadMLP) anew, and "
                f"'{component.name}' has another kind: {kinds}"
            )
        return networks


def features_of(
    component: Component, networks: Sequence[MultiHeadMLP], batch: Batch
) -> list[list[Tensor]]:
    """Activations of each network's hidden layers, (copies, n, features) each.

    Those while the component predicts or, where a network has no part in that (a value function
    beside the policy), while it computes its loss.

    Args:
        component: Holds the networks.
        networks: Some of its networks.
        batch: Rows that it learns from, (n, ...).
    """
    with torch.no_grad(), ExitStack() as stack:
        found = [stack.enter_context(recorded_features(network)) for network in networks]
        component.predict(batch)
        if not all(found):
            component.loss(batch)
    return found


def magnitudes(features: Tensor, units: int) -> Tensor:
    """|h| of each unit, the sum of its activations' where it has several (CReLU).

    Args:
        features: Activations, (copies, n, width * units), one of each unit after the other.
        units: Number of units.

    Returns:
        (copies, n, units).
    """
    size = features.abs()
    return size.view(*size.shape[:2], -1, units).sum(dim=2)


def of_features(units: Tensor, features: int) -> Tensor:
    """What holds of units (copies, units), for each of their activations, (copies, features)."""
    return units.repeat(1, features // units.shape[1])


def fed_layers(network: MultiHeadMLP) -> list[StackedLinear]:
    """For each hidden layer the one that reads it, the last of them all heads."""
    return [*network.hidden_layers[1:], network.heads]


@torch.no_grad()
def recycle(
    network: MultiHeadMLP,
    units: Sequence[Tensor],
    optimizer: Optimizer,
    means: Sequence[Tensor] | None = None,
) -> None:
    """Make units anew: fresh incoming weights, outgoing ones of zero, no moments of either.

    Incoming weights and biases are drawn as those of a new `MultiHeadMLP` are; LayerNorm's scale
    and shift of the unit are 1 and 0 again. Weights between two new units are zero. Without
    LayerNorm the outputs lose what the old units contributed, and nothing else changes. Where no
    unit is chosen no random number is drawn.

    Args:
        network: Whose units.
        units: Which ones, (copies, units) of bool for each hidden layer.
        optimizer: Its moments of these weights are set to zero. Counts of steps, which torch keeps
            for whole tensors, stay.
        means: Average activations, (copies, features) for each hidden layer: those of the units
            times their outgoing weights go into the biases that they feed. None for nothing.
    """
    if not any([bool(chosen.any()) for chosen in units]):
        return
    hidden, fed = network.hidden_layers, fed_layers(network)
    outgoing = [of_features(c, above.weight.shape[2]) for c, above in zip(units, fed, strict=True)]
    if means is not None:  # first, with all weights as they were
        for above, cut, mean in zip(fed, outgoing, means, strict=True):
            lost = torch.where(cut, mean, 0).unsqueeze(2)
            above.bias.add_(torch.bmm(above.weight, lost).squeeze(2))
    for depth, (layer, chosen) in enumerate(zip(hidden, units, strict=True)):
        bound = 1 / math.sqrt(layer.weight.shape[2])
        for parameter, mask in ((layer.weight, chosen.unsqueeze(2)), (layer.bias, chosen)):
            fresh = torch.empty_like(parameter).uniform_(-bound, bound)
            parameter.copy_(torch.where(mask, fresh, parameter))
            _forget(optimizer, parameter, mask)
        norm = network.norm_after(depth)
        if norm is not None:
            mask = chosen.unsqueeze(1)
            for parameter, value in ((norm.weight, 1.0), (norm.bias, 0.0)):
                parameter.masked_fill_(mask, value)
                _forget(optimizer, parameter, mask)
    for above, cut in zip(fed, outgoing, strict=True):
        mask = cut.unsqueeze(1)
        above.weight.masked_fill_(mask, 0)
        _forget(optimizer, above.weight, mask)


def _forget(optimizer: Optimizer, parameter: Tensor, mask: Tensor) -> None:
    """Set what an optimizer keeps of some entries of a parameter to zero."""
    kept: dict[str, Any] = optimizer.state.get(parameter, {})
    for value in kept.values():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            value.masked_fill_(mask, 0)
