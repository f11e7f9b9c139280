"""Actor and critics that know the task of each row, in Stable-Baselines3's policy classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN, SACPolicy
from torch import Tensor, nn

from lifelong_rl.learning import Role
from lifelong_rl.networks import NetworkSpec

NetworkBuilder = Callable[[Role, NetworkSpec], nn.Module]

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
TANH_EPSILON = 1e-6  # keeps log(1 - a²) finite; the value of Stable-Baselines3


def build_plain_network(role: Role, spec: NetworkSpec) -> nn.Module:
    """The network of a component that no continual method changes."""
    return spec.build()


def split_task(rows: Tensor, num_tasks: int) -> tuple[Tensor, Tensor | None]:
    """Split rows (n, d) into inputs and the task one-hot at their end.

    Returns:
        Inputs (n, d - num_tasks) and task (n, num_tasks); all of `rows` and None with one task.
    """
    if num_tasks == 1:
        return rows, None
    return rows[:, :-num_tasks], rows[:, -num_tasks:]


class Actor(BasePolicy):
    """Squashed Gaussian policy with one head per task.

    Args:
        observation_space: A flat box; its last `num_tasks` entries are the task one-hot when
            `num_tasks` > 1. The one-hot chooses the head and is not an input of the trunk.
        action_space: A box; actions are computed in [-1, 1].
        spec: The network's shape without its input and output sizes, which follow from the spaces.
        build_network: Makes the network; a continual method's, or `build_plain_network`.
        **base: Arguments of Stable-Baselines3's `BasePolicy`.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        *,
        net_arch: list[int],
        features_extractor: nn.Module,
        features_dim: int,
        activation_fn: type[nn.Module],
        num_tasks: int,
        layer_norm: bool,
        build_network: NetworkBuilder,
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,  # type: ignore[arg-type]
            normalize_images=normalize_images,
            squash_output=True,
        )
        action_dim = get_action_dim(action_space)
        self.num_tasks = num_tasks
        self.network = build_network(
            "policy",
            NetworkSpec(
                input_dim=features_dim - (num_tasks if num_tasks > 1 else 0),
                hidden=tuple(net_arch),
                outputs=(action_dim, action_dim),
                num_tasks=num_tasks,
                activation=activation_fn,
                layer_norm=layer_norm,
            ),
        )

    def gaussian(self, observations: PyTorchObs) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, (n, action_dim) each, before the squashing tanh."""
        features = self.extract_features(observations, self.features_extractor)
        inputs, task = split_task(features, self.num_tasks)
        mean, log_std = self.network(inputs, task)[0].chunk(2, dim=-1)
        return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)

    def action_log_prob(self, observations: PyTorchObs) -> tuple[Tensor, Tensor]:
        """A reparametrised action (n, action_dim) in (-1, 1) and its log density (n,).

        The squared, scaled distance from the mean is the noise itself, so it is not computed back
        from the action; value and gradient are those of `SquashedDiagGaussianDistribution`.
        """
        mean, log_std = self.gaussian(observations)
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device)
        actions = torch.tanh(torch.addcmul(mean, log_std.exp(), noise))
        log_prob = (
            -0.5 * noise.square()
            - log_std
            - HALF_LOG_TWO_PI
            - torch.log(1 - actions.square() + TANH_EPSILON)
        )
        return actions, log_prob.sum(dim=1)

    def forward(self, observations: PyTorchObs, deterministic: bool = False) -> Tensor:
        """Actions (n, action_dim) in (-1, 1): the squashed mean, or a sample."""
        mean, log_std = self.gaussian(observations)
        if not deterministic:
            mean = torch.addcmul(mean, log_std.exp(), torch.randn_like(mean))
        return torch.tanh(mean)

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        action: Tensor = self(observation, deterministic)
        return action


class Critic(BaseModel):
    """Action-value functions with one head per task, all copies evaluated at once.

    Args:
        observation_space: As for `Actor`.
        action_space: A box; actions come in [-1, 1].
        n_critics: Independent networks.
        **others: As for `Actor`.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        *,
        net_arch: list[int],
        features_extractor: nn.Module,
        features_dim: int,
        activation_fn: type[nn.Module],
        num_tasks: int,
        layer_norm: bool,
        build_network: NetworkBuilder,
        n_critics: int = 2,
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,  # type: ignore[arg-type]
            normalize_images=normalize_images,
        )
        self.num_tasks = num_tasks
        self.network = build_network(
            "value",
            NetworkSpec(
                input_dim=features_dim
                - (num_tasks if num_tasks > 1 else 0)
                + get_action_dim(action_space),
                hidden=tuple(net_arch),
                outputs=(1,),
                num_tasks=num_tasks,
                activation=activation_fn,
                layer_norm=layer_norm,
                copies=n_critics,
            ),
        )

    def forward(self, observations: PyTorchObs, actions: Tensor) -> Tensor:
        """Values (n_critics, n) of actions (n, action_dim) in [-1, 1]."""
        features = self.extract_features(observations, self.features_extractor)
        inputs, task = split_task(features, self.num_tasks)
        values: Tensor = self.network(torch.cat([inputs, actions], dim=1), task)
        return values.squeeze(-1)


class ContinualSACPolicy(SACPolicy):
    """SAC's policy class with multi-head networks that a continual method may build.

    Args:
        *args: As for Stable-Baselines3's `SACPolicy`.
        num_tasks: Length of the task one-hot at the end of the observation; 1 for none.
        layer_norm: LayerNorm and tanh after the first layer, as in Continual World.
        build_network: Makes each component's network.
        **kwargs: As for Stable-Baselines3's `SACPolicy`.

    Raises:
        ValueError: State-dependent exploration or a shared features extractor is asked for.
    """

    actor: Actor  # type: ignore[assignment]
    critic: Critic  # type: ignore[assignment]
    critic_target: Critic  # type: ignore[assignment]

    def __init__(
        self,
        *args: Any,
        num_tasks: int = 1,
        layer_norm: bool = False,
        build_network: NetworkBuilder = build_plain_network,
        **kwargs: Any,
    ) -> None:
        if kwargs.pop("use_sde", False):
            raise ValueError("use_sde=True is not supported: exploration is per action")
        if kwargs.get("share_features_extractor", False):
            raise ValueError("share_features_extractor=True is not supported: each component owns its network")
        self._network_kwargs = {
            "num_tasks": num_tasks,
            "layer_norm": layer_norm,
            "build_network": build_network,
        }
        super().__init__(*args, **kwargs)

    def make_actor(self, features_extractor: Any = None) -> Actor:  # type: ignore[override]
        """Build the actor."""
        kwargs = self._update_features_extractor(self.net_args, features_extractor)
        return Actor(**kwargs, **self._network_kwargs).to(self.device)

    def make_critic(self, features_extractor: Any = None) -> Critic:  # type: ignore[override]
        """Build the twin critics, or their target."""
        kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        kwargs.pop("share_features_extractor")
        return Critic(**kwargs, **self._network_kwargs).to(self.device)
