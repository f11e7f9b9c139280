"""PPO's policy and value networks, which know the task of each row."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    sum_independent_dims,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.agents.action_mask import make_mask
from lifelong_rl.agents.inputs import inputs_space
from lifelong_rl.agents.network_builder import BUILD_PLAINLY, BuildNetwork
from lifelong_rl.learning import Adam, Role, split_task
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.mlp import StackedLinear
from lifelong_rl.networks.spec import NormPlacement


class ContinualPPOPolicy(ActorCriticPolicy):
    """PPO's policy class with multi-head networks that a continual method may build.

    The policy's standard deviation does not depend on the observation, but on the task.

    Args:
        observation_space: A flat box that ends with the task one-hot if there are several tasks.
        action_space: A box.
        lr_schedule: Learning rate by the remaining share of training.
        net_arch: Units of the hidden layers, of both or by "pi" and "vf".
        num_tasks: Length of the task one-hot at the end of the observation; 1 for none.
        layer_norm: See `NetworkSpec`.
        build_network: Makes the network of the policy and that of the value.
        optimizer_class: Of the one optimizer of both.
        optimizer_kwargs: What it is made with; by default that of Stable-Baselines3's Adam.
        action_dims: Leading entries of an action that count in each task; None for all.
        **kwargs: As for Stable-Baselines3's `ActorCriticPolicy`.

    Raises:
        ValueError: The action space is not a box, or state-dependent exploration is asked for.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        num_tasks: int = 1,
        layer_norm: NormPlacement = False,
        build_network: BuildNetwork = BUILD_PLAINLY,
        optimizer_class: type[Optimizer] = Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        action_dims: tuple[int, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("use_sde", False):
            raise ValueError("use_sde=True is not supported: exploration is per action")
        if not isinstance(action_space, spaces.Box):
            raise ValueError(f"the actions must be a box, not {action_space}")
        self._num_tasks = num_tasks
        self._action_dims = action_dims
        if optimizer_kwargs is None and optimizer_class is Adam:
            optimizer_kwargs = {"eps": 1e-5}  # as Stable-Baselines3 for torch's Adam
        self._layer_norm = layer_norm
        self._build_network = build_network
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=_by_network(net_arch),
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
            **kwargs,
        )

    def gaussian(
        self, observations: PyTorchObs, task: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the actions, (n, action_dim) each.

        Both are 0 where an entry does not count.

        Args:
            observations: Without the task, (n, ...).
            task: Of each row, (n,) of int64; None with one task.
        """
        mean = self.policy_network(self._features(observations), task)[0]
        log_std = self.log_std if task is None else self.log_std[task]
        log_std = log_std.expand_as(mean)
        if self.mask is None:
            return mean, log_std
        return self.mask(mean, task), self.mask(log_std, task)

    def values(self, observations: PyTorchObs, task: Tensor | None = None) -> Tensor:
        """Values (n, 1); see `gaussian` for the arguments."""
        values: Tensor = self.value_network(self._features(observations), task)[0]
        return values

    def distribution(self, observations: PyTorchObs, task: Tensor | None = None) -> Any:
        """Stable-Baselines3's distribution of the actions; see `gaussian` for the arguments."""
        # Of its own: a policy that held on to a batch's graph could not be copied.
        distribution: Any = (
            copy.copy(self.action_dist) if self.mask is None else MaskedGaussian(self.mask.of(task))
        )
        return distribution.proba_distribution(*self.gaussian(observations, task))

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Values (n, 1) of observations as environments show them."""
        return self.values(*self._split(obs))

    def get_distribution(self, obs: PyTorchObs) -> Any:
        """Stable-Baselines3's distribution, for observations as environments show them."""
        return self.distribution(*self._split(obs))

    def forward(
        self, obs: PyTorchObs, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (n, action_dim), values (n, 1) and log densities (n,)."""
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: PyTorchObs, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (n, 1), log densities of the actions (n,) and entropies (n,)."""
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), distribution.entropy()

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Build the features extractor, for observations without the task."""
        space = inputs_space(self.observation_space, self._num_tasks)
        return self.features_extractor_class(space, **self.features_extractor_kwargs)

    def _split(self, obs: PyTorchObs) -> tuple[PyTorchObs, Tensor | None]:
        return split_task(obs, self._num_tasks)  # type: ignore[arg-type]

    def _features(self, observations: PyTorchObs) -> Tensor:
        features = self.extract_features(observations)
        assert isinstance(features, Tensor)
        return features

    def _build(self, lr_schedule: Schedule) -> None:
        assert isinstance(self.net_arch, dict)
        action_dim = get_action_dim(self.action_space)
        self.mask = make_mask(self._action_dims, action_dim)
        self.policy_network = self._network("policy", self.net_arch["pi"], action_dim)
        self.value_network = self._network("value", self.net_arch["vf"], 1)
        self.log_std = nn.Parameter(torch.full((self._num_tasks, action_dim), self.log_std_init))
        if self.ortho_init:
            networks = (self.policy_network, self.value_network)
            for network in networks:
                _init_hidden(network, gain=math.sqrt(2))
            for network, gain in zip(networks, (0.01, 1.0), strict=True):
                _init_heads(network, gain)
        self.optimizer = self.optimizer_class(  # type: ignore[call-arg]
            self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs
        )

    def _network(self, role: Role, hidden: list[int], output_dim: int) -> nn.Module:
        spec = NetworkSpec(
            input_dim=self.features_dim,
            hidden=tuple(hidden),
            outputs=(output_dim,),
            num_tasks=self._num_tasks,
            activation=self.activation_fn,
            layer_norm=self._layer_norm,
        )
        return self._build_network(role, spec)


class MaskedGaussian(DiagGaussianDistribution):
    """Stable-Baselines3's Gaussian over the entries that count; the others are 0.

    Args:
        kept: 1 where an entry counts and 0 where it does not, (n, action_dim) or (1, action_dim).
    """

    def __init__(self, kept: Tensor) -> None:
        super().__init__(kept.shape[1])
        self.kept = kept

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log densities (n,) of actions (n, action_dim)."""
        of_entries: Tensor = self.distribution.log_prob(actions)  # type: ignore[no-untyped-call]
        return sum_independent_dims(of_entries * self.kept)

    def entropy(self) -> Tensor:
        """Entropies, (n,)."""
        of_entries: Tensor = self.distribution.entropy()  # type: ignore[no-untyped-call]
        return sum_independent_dims(of_entries * self.kept)

    def sample(self) -> Tensor:
        """Actions, (n, action_dim)."""
        return super().sample() * self.kept


def _by_network(net_arch: list[int] | dict[str, list[int]] | None) -> dict[str, list[int]]:
    """The hidden layers of policy and value, given in any way that Stable-Baselines3 takes."""
    if net_arch is None:
        net_arch = [64, 64]
    return net_arch if isinstance(net_arch, dict) else {"pi": net_arch, "vf": net_arch}


def _init_hidden(network: nn.Module, gain: float) -> None:
    """Make the hidden layers orthogonal, as Stable-Baselines3 does for on-policy learners."""
    for part in network.modules():
        if isinstance(part, MultiHeadMLP):
            for layer in part.hidden:
                assert isinstance(layer, StackedLinear)
                for weight in layer.weight:
                    nn.init.orthogonal_(weight, gain)
                nn.init.zeros_(layer.bias)


def _init_heads(network: nn.Module, gain: float) -> None:
    """Make each head orthogonal by itself."""
    for part in network.modules():
        if isinstance(part, MultiHeadMLP):
            for weight in part.heads.weight:
                for head in weight.chunk(part.spec.num_tasks):
                    nn.init.orthogonal_(head, gain)
            nn.init.zeros_(part.heads.bias)
