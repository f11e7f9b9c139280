"""Stable-Baselines3's policy classes with actors and critics that know the task of each row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim, preprocess_obs
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    get_actor_critic_arch,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.agents.action_mask import ActionMask, make_mask
from lifelong_rl.agents.actor_critic import (
    Actor,
    Critic,
    DeterministicActor,
    as_floats,
)
from lifelong_rl.agents.inputs import inputs_space
from lifelong_rl.agents.network_builder import BUILD_PLAINLY, BuildNetwork
from lifelong_rl.learning import Adam, Role, split_task
from lifelong_rl.networks import NetworkSpec
from lifelong_rl.networks.spec import NormPlacement

DEFAULT_ARCH = [256, 256]  # that of Stable-Baselines3


class _TaskNetworks(BasePolicy):
    """Builds the networks of actor-critic policies; inherited before Stable-Baselines3's class.

    Args:
        observation_space: A flat box that ends with the task one-hot if there are several tasks.
            Features are made of what is before it.
        action_space: A box.
        lr_schedule: Learning rate by the remaining share of training.
        net_arch: Units of the hidden layers, of both or by "pi" and "qf".
        n_critics: Independent action-value functions.
        num_tasks: Length of the task one-hot at the end of the observation; 1 for none.
        layer_norm: See `NetworkSpec`.
        build_network: Makes each component's network.
        optimizer_class: Of each component's optimizer.
        action_dims: Leading entries of an action that count in each task; None for all.
        **kwargs: As for Stable-Baselines3's policy class.

    Raises:
        ValueError: A shared features extractor is asked for.
    """

    activation_fn: type[nn.Module]

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] = DEFAULT_ARCH,
        n_critics: int = 2,
        num_tasks: int = 1,
        layer_norm: NormPlacement = False,
        build_network: BuildNetwork = BUILD_PLAINLY,
        optimizer_class: type[Optimizer] = Adam,
        action_dims: tuple[int, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("share_features_extractor", False):
            raise ValueError(
                "share_features_extractor=True is not supported: each component owns its network"
            )
        self._num_tasks = num_tasks
        self._action_dims = action_dims
        self._layer_norm = layer_norm
        self._build_network = build_network
        self._actor_arch, self._critic_arch = get_actor_critic_arch(net_arch)
        self._n_critics = n_critics
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=net_arch,
            n_critics=n_critics,
            optimizer_class=optimizer_class,
            **kwargs,
        )

    def make_critic(self, features_extractor: Any = None) -> Critic:
        """Build the critics, or their target."""
        features = features_extractor or self.make_features_extractor()
        network = self._network(
            "value",
            features.features_dim + get_action_dim(self.action_space),
            hidden=self._critic_arch,
            outputs=(1,),
            copies=self._n_critics,
        )
        return Critic(network, features, self._preprocess, self._mask).to(self.device)

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """Build the features extractor of a network, for observations without the task."""
        space = inputs_space(self.observation_space, self._num_tasks)
        return self.features_extractor_class(space, **self.features_extractor_kwargs)

    @property
    def _preprocess(self) -> Callable[[Any], Any]:
        """What Stable-Baselines3 does to observations before features are extracted."""
        space = self.observation_space
        if isinstance(space, spaces.Box) and len(space.shape) == 1:
            return as_floats
        return partial(
            preprocess_obs, observation_space=space, normalize_images=self.normalize_images
        )

    @property
    def _mask(self) -> ActionMask | None:
        return make_mask(self._action_dims, get_action_dim(self.action_space))

    def _actor_network(self, features: BaseFeaturesExtractor, outputs_per_action: int) -> nn.Module:
        return self._network(
            "policy",
            features.features_dim,
            hidden=self._actor_arch,
            outputs=(get_action_dim(self.action_space),) * outputs_per_action,
        )

    def _network(
        self,
        role: Role,
        input_dim: int,
        hidden: list[int],
        outputs: tuple[int, ...],
        copies: int = 1,
    ) -> nn.Module:
        spec = NetworkSpec(
            input_dim=input_dim,
            hidden=tuple(hidden),
            outputs=outputs,
            num_tasks=self._num_tasks,
            activation=self.activation_fn,
            layer_norm=self._layer_norm,
            copies=copies,
        )
        return self._build_network(role, spec)


class ContinualSACPolicy(_TaskNetworks, SACPolicy):  # type: ignore[misc]
    """SAC's policy class with multi-head networks that a continual method may build."""

    actor: Actor  # type: ignore[assignment]
    critic: Critic  # type: ignore[assignment]
    critic_target: Critic  # type: ignore[assignment]

    def __init__(self, *args: Any, use_sde: bool = False, **kwargs: Any) -> None:
        if use_sde:
            raise ValueError("use_sde=True is not supported: exploration is per action")
        super().__init__(*args, **kwargs)

    def make_actor(self, features_extractor: Any = None) -> Actor:  # type: ignore[override]
        """Build the actor."""
        features = features_extractor or self.make_features_extractor()
        network = self._actor_network(features, 2)
        return Actor(network, features, self._preprocess, self._mask).to(self.device)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        inputs, task = split_task(observation, self._num_tasks)  # type: ignore[arg-type]
        actions: Tensor = self.actor(inputs, deterministic, task)
        return actions


class ContinualTD3Policy(_TaskNetworks, TD3Policy):  # type: ignore[misc]
    """TD3's policy class with multi-head networks that a continual method may build."""

    actor: DeterministicActor  # type: ignore[assignment]
    actor_target: DeterministicActor  # type: ignore[assignment]
    critic: Critic  # type: ignore[assignment]
    critic_target: Critic  # type: ignore[assignment]

    def make_actor(  # type: ignore[override]
        self, features_extractor: Any = None
    ) -> DeterministicActor:
        """Build the actor, or its target."""
        features = features_extractor or self.make_features_extractor()
        network = self._actor_network(features, 1)
        made = DeterministicActor(network, features, self._preprocess, self._mask)
        return made.to(self.device)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        inputs, task = split_task(observation, self._num_tasks)  # type: ignore[arg-type]
        actions: Tensor = self.actor(inputs, task)
        return actions
