"""Parseval regularisation (Chung et al. 2024)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lifelong_rl.continual.preserving import networks_of
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree
from lifelong_rl.networks import NetworkSpec
from lifelong_rl.networks.diagonal import DiagonalMLP
from lifelong_rl.options import NonNegative, Positive, Scope
from lifelong_rl.registry import METHODS

TUNED_WIDTH = 64
"""Units of the layers that Chung et al. tuned the strength for."""


@METHODS.register("parseval")
class Parseval(ContinualMethod):
    """Parseval regularisation: hold the weights of hidden layers orthogonal, and of equal norms.

    The loss gets strength (64 / d)² ‖W Wᵀ − s I‖² (Frobenius) for the weights W of each hidden
    layer, of d units; the output layer is left free. Gradients then neither vanish nor explode,
    whatever was learned before. A diagonal layer after each gives back what orthogonal weights
    cannot express. As with the authors, hidden layers begin orthogonal, with W Wᵀ = s I, and a
    layer of more units than inputs is held too, though only WᵀW = s I can be reached there. Nothing
    old is held: it acts on every update alike, and need not be told where a task ends.

    Where it departs from the authors' code: each layer's own width stands in (64 / d)²; agents keep
    their own activation and LayerNorm, where theirs have tanh and none; and there is no scale of
    the inputs. Diagonal layers are not part of the written-down gradients, so that updates go
    through autograd.

    References:
        Chung et al. 2024, Parseval regularization for continual reinforcement learning.
    """

    needs_boundaries: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of Parseval.

        Attributes:
            strength: Weight of the penalty (Chung et al. 2024, on Meta-World).
            square: s, the square of the rows' norm (Chung et al. 2024: the gain √2 that their
                weights begin with).
            diagonal: Whether there are diagonal layers (Chung et al. 2024, on Meta-World; without
                on their other tasks).
            scope: Which components it acts on; Chung et al. 2024 regularise policy and value
                function.
        """

        strength: NonNegative = 1e-3
        square: Positive = 2.0
        diagonal: bool = True
        scope: Scope = "both"

    options: Options

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network that begins orthogonal, with diagonal layers."""
        gain = math.sqrt(self.options.square)
        return DiagonalMLP(spec, gain, diagonal=self.options.diagonal)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Refuse components whose networks this method has not made.

        Raises:
            UserError: A component has no network of this method.
        """
        for component in self.components(learner).values():
            networks_of(component, DiagonalMLP, "parseval")

    def penalty(self, component: Component, batch: Batch) -> Tensor:
        """The deviation from orthogonality of all hidden layers."""
        return self.options.strength * sum(
            (
                deviation(layer.weight, self.options.square)
                for network in networks_of(component, DiagonalMLP, "parseval")
                for layer in network.hidden_layers
            ),
            start=torch.zeros((), device=next(component.module.parameters()).device),
        )

    def task_state(self) -> StateTree:
        """Nothing is kept."""
        return {}


def deviation(weight: Tensor, square: float) -> Tensor:
    """(64 / d)² ‖W Wᵀ − s I‖², summed over copies, a scalar.

    Args:
        weight: W of each copy, (copies, d, in).
        square: s.
    """
    units = weight.shape[1]
    gram = torch.bmm(weight, weight.mT)
    wanted = square * torch.eye(units, dtype=weight.dtype, device=weight.device)
    return (TUNED_WIDTH / units) ** 2 * (gram - wanted).square().sum()
