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
from lifelong_rl.learning.rows import count_rows
from lifelong_rl.networks.bayesian import BayesianMLP
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import Count, NonNegative, Positive
from lifelong_rl.registry import METHODS

STREAM_SIZE = 3000
"""The rows that data counts as that is not there when its task begins."""


@METHODS.register("vcl")
class VCL(ContinualMethod):
    """Variational continual learning: the last task's posterior is the next one's prior.

    The network's weights have a Gaussian posterior q each. The loss is computed with sampled
    weights, one sample a row, and from the second task on strength/N KL(q_t ‖ q_{t−1}) over what
    tasks share is added to it (eq. 4, divided by the N rows of the task since the loss is a mean).
    No coreset is kept.

    As in Continual World's experiments, the first task and the tasks' own heads have no prior. The
    paper's is N(0, 1), and `prior_std` gives it. A reinforcement learner takes many more updates
    than its N has rows, and moves a posterior towards that prior as far as its optimizer goes:
    under SAC every standard deviation of the first task grew from .05 to .44 at N = 10 000, and
    nothing held the old task in the next.

    With SAC on reach, then drawer-open, 10 000 steps each, reach ends at 1.00 with every N. What
    drawer-open ends at, seeds 0 to 2 (`lifelong-rl sweep studies/method_checks.yaml`; all of it in
    docs/results/method_checks.json):

        N      100: .34 .38 .74    300: .30 .28 .54    1000: .86 .10 .80
              3000: .86 .68 .84  10 000: .16 1.00 .96

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
            data_size: N, the rows that a task's data counts as. By default as many as a data set
                has, and 3000 where the data comes while it is learned from (measured: see above).
                Continual World uses 1.
            prior_std: Standard deviation of the prior N(0, prior_std²) of the first task and of
                every head (paper: 1); by default they have none, as in Continual World.
            initial_std: Standard deviation of the weights before training (Continual World: e⁻³, a
                log variance of −6).
            scope: Which components it acts on; Continual World regularises the policy only.
        """

        strength: NonNegative = 1.0
        data_size: Count | None = None
        prior_std: Positive | None = None
        initial_std: Positive = 0.05

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._task_id = 0
        self._data_size = STREAM_SIZE
        self._priors: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network with a posterior over its weights."""
        return BayesianMLP(spec, self.options.initial_std)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Count the rows of a data set, and take the first prior if there is one.

        Raises:
            UserError: A component has no network of this method.
        """
        self._task_id = task_id
        self._data_size = self.options.data_size or count_rows(learner.task_data()) or STREAM_SIZE
        for name, component in self.components(learner).items():
            networks = networks_of(component, BayesianMLP, "vcl")
            if name not in self._priors and self.options.prior_std is not None:
                self._priors[name] = [
                    self._first_prior(network, self.options.prior_std) for network in networks
                ]

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """strength/N KL(posterior ‖ prior) of all that has a prior; None if nothing has."""
        if component.name not in self._priors:
            return None
        total = torch.zeros(())
        for network, (prior_mean, prior_log_std) in zip(
            networks_of(component, BayesianMLP, "vcl"), self._priors[component.name], strict=True
        ):
            held = slice(len(prior_mean))  # the head comes last
            mean, log_std = network.posterior(self._task_id)
            total = total + kl_gaussians(mean[held], log_std[held], prior_mean, prior_log_std)
        return self.options.strength / self._data_size * total

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

    def task_state(self) -> StateTree:
        """The task, and the rows that its data counts as."""
        return {"task_id": self._task_id, "data_size": self._data_size}

    def load_task_state(self, state: StateTree) -> None:
        """Take over a state made by `task_state`."""
        self._task_id, self._data_size = state["task_id"], state["data_size"]

    def _first_prior(self, network: BayesianMLP, std: float) -> tuple[Tensor, Tensor]:
        mean, log_std = network.posterior(0)
        return torch.zeros_like(mean), torch.full_like(log_std, math.log(std))

    def _next_prior(self, network: BayesianMLP, task_id: int) -> tuple[Tensor, Tensor]:
        """The posterior of what tasks share, and the first prior of their heads if there is one."""
        mean, log_std = (learned.detach() for learned in network.posterior(task_id))
        if network.spec.num_tasks == 1:
            return mean, log_std
        head = network.head_size
        mean, log_std = mean[:-head], log_std[:-head]
        if self.options.prior_std is None:
            return mean, log_std
        first_mean, first_log_std = self._first_prior(network, self.options.prior_std)
        return torch.cat([mean, first_mean[-head:]]), torch.cat([log_std, first_log_std[-head:]])


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
