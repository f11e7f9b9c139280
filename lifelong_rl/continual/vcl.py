"""Variational continual learning (Nguyen et al. 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lifelong_rl.compatibility import Trait
from lifelong_rl.continual.preserving import networks_of
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree
from lifelong_rl.networks.bayesian import BayesianMLP
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import Count, NonNegative, Positive
from lifelong_rl.registry import METHODS


@METHODS.register("vcl")
class VCL(ContinualMethod):
    """Variational continual learning: the last task's posterior is the next one's prior.

    The network's weights have a Gaussian posterior q each. The loss is computed with sampled
    weights, one sample a row, and strength/N KL(q_t ‖ q_{t−1}) is added to it (eq. 4, divided by
    the N rows of the task since the loss is a mean). The prior of the first task, and of every
    task's own head, is N(0, prior_std²). No coreset is kept.

    Networks sample in training mode and use the mean weights in evaluation mode, wherever `predict`
    is called from.

    References:
        Nguyen et al. 2018, Variational continual learning.
        Kingma et al. 2015, Variational dropout and the local reparameterization trick.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("networks alone",)

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of VCL.

        Attributes:
            strength: Weight of the KL divergence; 1 is the paper's objective.
            data_size: N, the rows that a task's data counts as. A reinforcement learner has no set
                of fixed size; 10 000 is of the order of a task here. Continual World uses 1, which
                holds the weights far more firmly.
            prior_std: Standard deviation of the first prior (paper: 1).
            initial_std: Standard deviation of the weights before training (Continual World: e⁻³, a
                log variance of −6).
            scope: Which components it acts on; Continual World regularises the policy only.
        """

        strength: NonNegative = 1.0
        data_size: Count = 10_000
        prior_std: Positive = 1.0
        initial_std: Positive = 0.05

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._task_id = 0
        self._priors: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network with a posterior over its weights."""
        return BayesianMLP(spec, self.options.initial_std)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Take the first prior if there is none yet.

        Raises:
            UserError: A component has no network of this method.
        """
        self._task_id = task_id
        for name, component in self.components(learner).items():
            networks = networks_of(component, BayesianMLP, "vcl")
            if name not in self._priors:
                self._priors[name] = [self._first_prior(network) for network in networks]

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """strength/N KL(posterior ‖ prior) of the trunk and the task's head."""
        pairs = zip(
            networks_of(component, BayesianMLP, "vcl"), self._priors[component.name], strict=True
        )
        total = torch.stack(
            [kl_gaussians(*network.posterior(self._task_id), *prior) for network, prior in pairs]
        ).sum()
        return self.options.strength / self.options.data_size * total

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Make the posterior of the trunk the next task's prior."""
        for name, component in self.components(learner).items():
            self._priors[name] = [
                self._next_prior(network, task_id)
                for network in networks_of(component, BayesianMLP, "vcl")
            ]

    def state_dict(self) -> StateTree:
        """The prior of each network of each component."""
        return {
            name: {
                str(index): {"mean": mean, "log_std": log_std}
                for index, (mean, log_std) in enumerate(priors)
            }
            for name, priors in self._priors.items()
        }

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._priors = {
            name: [
                (priors[str(index)]["mean"], priors[str(index)]["log_std"])
                for index in range(len(priors))
            ]
            for name, priors in state.items()
        }

    def _first_prior(self, network: BayesianMLP) -> tuple[Tensor, Tensor]:
        mean, log_std = network.posterior(0)
        prior_log_std = torch.full_like(log_std, math.log(self.options.prior_std))
        return torch.zeros_like(mean), prior_log_std

    def _next_prior(self, network: BayesianMLP, task_id: int) -> tuple[Tensor, Tensor]:
        """The posterior; where every task has a head of its own, the first prior for the head."""
        posterior = network.posterior(task_id)
        if network.spec.num_tasks == 1:
            return posterior[0].detach(), posterior[1].detach()
        head = network.head_size
        mean, log_std = (
            torch.cat([learned[:-head].detach(), first[-head:]])
            for learned, first in zip(posterior, self._first_prior(network), strict=True)
        )
        return mean, log_std


def kl_gaussians(
    mean: Tensor, log_std: Tensor, prior_mean: Tensor, prior_log_std: Tensor
) -> Tensor:
    """KL(N(mean, std²) ‖ N(prior_mean, prior_std²)) of independent Gaussians, summed.

    Σ log(σ₀/σ) + (σ² + (μ − μ₀)²) / (2σ₀²) − ½.

    Args:
        mean: μ, (p,).
        log_std: log σ, (p,).
        prior_mean: μ₀, (p,).
        prior_log_std: log σ₀, (p,).

    Returns:
        A scalar.
    """
    log_ratio = log_std - prior_log_std
    distance = (mean - prior_mean) * (-prior_log_std).exp()
    return 0.5 * ((2 * log_ratio).exp() + distance.square() - 2 * log_ratio - 1).sum()
