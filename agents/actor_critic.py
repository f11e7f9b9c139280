"""Policies and action-value functions that know the task of each row, as plain modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.agents.action_mask import ActionMask
from lifelong_rl.networks.mlp import MultiHeadMLP, Trace, is_hooked

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0  # the bounds of Stable-Baselines3
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
TANH_EPSILON = 1e-6  # keeps log(1 - a²) finite; the value of Stable-Baselines3

Preprocess = Callable[[Any], Tensor]
"""Makes of observations what a features extractor reads."""


class FeatureModule(nn.Module):
    """A task network on the features of observations; to be given a forward pass.

    Observations are without the task, which is an argument of its own: (n,) of int64, or None with
    one task.

    Args:
        network: A `TaskNetwork`.
        features_extractor: Makes the features; by default the observations are the features.
        preprocess: What is done to observations before that; by default nothing.
        mask: The entries of actions that count; None for all.
    """

    optimizer: Optimizer  # given by Stable-Baselines3's policy classes, which keep it here

    def __init__(
        self,
        network: nn.Module,
        features_extractor: nn.Module | None = None,
        preprocess: Preprocess | None = None,
        mask: ActionMask | None = None,
    ) -> None:
        super().__init__()
        self.features_extractor = features_extractor or nn.Identity()
        self.network = network
        self._preprocess = preprocess
        self.mask = mask

    def set_training_mode(self, mode: bool) -> None:
        """Switch between training and evaluation, by the name that Stable-Baselines3 uses."""
        if mode != self.training:
            self.train(mode)

    @property
    def reads_all(self) -> bool:
        """Whether observations are the features, but for the type of their numbers."""
        extractor = self._modules["features_extractor"]
        as_they_are = type(extractor) in (nn.Identity, FlattenExtractor)
        return as_they_are and self._preprocess in (None, as_floats)

    @property
    def traced(self) -> MultiHeadMLP | None:
        """The network if its gradients can be written down, else None."""
        network = self._modules["network"]
        if type(self) not in (Actor, DeterministicActor, Critic) or is_hooked(self):
            return None
        if not (self.reads_all and isinstance(network, MultiHeadMLP) and network.traceable):
            return None
        return network

    def features(self, observations: Any) -> Tensor:
        """What the network reads of observations, (n, input_dim)."""
        if self._preprocess is not None:
            observations = self._preprocess(observations)
        features: Tensor = observations if self.reads_all else self.features_extractor(observations)
        return features

    def masked(self, values: Tensor, task: Tensor | None) -> Tensor:
        """Values (n, action_dim) of the entries of actions that count; 0 for the others."""
        if self.mask is None:
            return values
        kept: Tensor = self.mask(values, task)
        return kept


def as_floats(observations: Tensor) -> Tensor:
    """Rows of numbers as networks read them."""
    return observations.float()


class Draw(NamedTuple):
    """A sample of the policy, and what its gradient is made of.

    Attributes:
        actions: (n, action_dim) in (-1, 1).
        log_prob: Log density of each, (n,).
        slope: Derivative 1 - a² of the squashing tanh, (n, action_dim); 0 where entries do not
            count.
        spread: Standard deviation times noise, (n, action_dim).
        inside: Where entries count and the log standard deviation is not clamped, (n, action_dim).
        trace: Of the network.
    """

    actions: Tensor
    log_prob: Tensor
    slope: Tensor
    spread: Tensor
    inside: Tensor
    trace: Trace

    def first(self, n: int) -> Draw:
        """The same for the first `n` rows."""
        parts = (self.actions, self.log_prob, self.slope, self.spread, self.inside)
        actions, log_prob, slope, spread, inside = [part.narrow(0, 0, n) for part in parts]
        return Draw(actions, log_prob, slope, spread, inside, self.trace.first(n))


class Actor(FeatureModule):
    """Squashed Gaussian policy with one head per task.

    The network maps features to means and log standard deviations, (1, n, 2 * action_dim). The task
    chooses the head and is not an input of the trunk. Entries of actions that do not count are 0
    and are left out of densities.
    """

    def gaussian(self, observations: Any, task: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, (n, action_dim) each, before the squashing tanh.

        Both are 0 where an entry does not count.
        """
        mean, log_std = self.network(self.features(observations), task)[0].chunk(2, dim=-1)
        log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
        return self.masked(mean, task), self.masked(log_std, task)

    def mean(self, observations: Any, task: Tensor | None = None) -> Tensor:
        """Means before the squashing tanh, (n, action_dim)."""
        return self.gaussian(observations, task)[0]

    def action_log_prob(
        self, observations: Any, task: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A reparametrised action (n, action_dim) in (-1, 1) and its log density (n,).

        The squared, scaled distance from the mean is the noise itself, so it is not computed back
        from the action; value and gradient are those of `SquashedDiagGaussianDistribution`.
        """
        mean, log_std = self.gaussian(observations, task)
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device)
        noise = self.masked(noise, task)
        actions = torch.tanh(torch.addcmul(mean, log_std.exp(), noise))
        log_prob = (
            -0.5 * noise.square()
            - log_std
            - HALF_LOG_TWO_PI
            - torch.log(1 - actions.square() + TANH_EPSILON)
        )
        return actions, self.masked(log_prob, task).sum(dim=1)

    @torch.no_grad()
    def draw(
        self, network: MultiHeadMLP, observations: Tensor, task: Tensor | None, noise: Tensor
    ) -> Draw:
        """What `action_log_prob` computes, without a graph but with what `pull` needs.

        Args:
            network: The one of this policy.
            observations: (n, obs_dim).
            task: Of each row, (n,) of int64; None with one task.
            noise: Standard normal, (n, action_dim).
        """
        outputs, trace = network.trace(self.features(observations), task)
        mean, raw = outputs[0].chunk(2, dim=-1)
        log_std = raw.clamp(LOG_STD_MIN, LOG_STD_MAX)
        inside = raw == log_std
        spread = log_std.exp().mul_(noise)
        actions = torch.add(mean, spread).tanh_()
        slope = actions.square().neg_().add_(1)
        log_prob = noise.square().mul_(-0.5).sub_(log_std).sub_(HALF_LOG_TWO_PI)
        log_prob = log_prob.sub_((slope + TANH_EPSILON).log_())
        if self.mask is not None:
            kept = self.mask.of(task)
            for values in (actions, slope, log_prob):
                values.mul_(kept)
            inside = inside & (kept > 0)
        return Draw(actions, log_prob.sum(dim=1), slope, spread, inside, trace)

    def pull(
        self, network: MultiHeadMLP, draw: Draw, actions: Tensor, log_prob: Tensor
    ) -> list[tuple[nn.Parameter, Tensor]]:
        """Each parameter's gradient of a loss.

        Args:
            network: The one of this policy.
            draw: What the loss was computed with.
            actions: The loss's derivative by the actions, (n, action_dim).
            log_prob: Its derivative by the log densities, (n, 1) or (1, 1) for all.
        """
        by_action = log_prob * 2 * draw.actions / (draw.slope + TANH_EPSILON)
        by_mean = (actions + by_action).mul_(draw.slope)
        by_log_std = (by_mean * draw.spread - log_prob) * draw.inside
        outputs = torch.cat([by_mean, by_log_std], dim=1).unsqueeze(0)
        return network.pull(draw.trace, outputs)[0]

    def forward(
        self, observations: Any, deterministic: bool = False, task: Tensor | None = None
    ) -> Tensor:
        """Actions (n, action_dim) in (-1, 1): the squashed mean, or a sample."""
        mean, log_std = self.gaussian(observations, task)
        if not deterministic:
            noise = self.masked(torch.randn_like(mean), task)
            mean = torch.addcmul(mean, log_std.exp(), noise)
        return torch.tanh(mean)


class DeterministicActor(FeatureModule):
    """Squashed deterministic policy with one head per task.

    The network maps features to actions before the squashing, (1, n, action_dim). Entries that do
    not count are 0.
    """

    def mean(self, observations: Any, task: Tensor | None = None) -> Tensor:
        """Actions before the squashing tanh, (n, action_dim)."""
        return self.masked(self.network(self.features(observations), task)[0], task)

    def forward(self, observations: Any, task: Tensor | None = None) -> Tensor:
        """Actions (n, action_dim) in (-1, 1)."""
        return torch.tanh(self.mean(observations, task))


class Critic(FeatureModule):
    """Action-value functions with one head per task, all copies evaluated at once.

    The network maps features followed by the action to values, (n_critics, n, 1). It does not see
    entries that do not count, such as those of rows that a method moves to another task.
    """

    def inputs(self, observations: Any, actions: Tensor, task: Tensor | None) -> Tensor:
        """What the network reads, (n, input_dim); see `forward`."""
        return torch.cat([self.features(observations), self.masked(actions, task)], dim=1)

    def forward(self, observations: Any, actions: Tensor, task: Tensor | None = None) -> Tensor:
        """Values (n_critics, n) of actions (n, action_dim) in [-1, 1]."""
        values: Tensor = self.network(self.inputs(observations, actions, task), task)
        return values.squeeze(-1)
