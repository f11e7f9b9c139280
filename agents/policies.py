"""Actor and critics that know the task of each row, in Stable-Baselines3's policy classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, get_actor_critic_arch
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN, SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from lifelong_rl.learning import Batch, Role
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec

NetworkBuilder = Callable[[Role, NetworkSpec], nn.Module]

DEFAULT_ARCH = [256, 256]  # that of Stable-Baselines3
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
TANH_EPSILON = 1e-6  # keeps log(1 - a²) finite; the value of Stable-Baselines3


def build_plain_network(role: Role, spec: NetworkSpec) -> nn.Module:
    """The network of a component that no continual method changes."""
    return MultiHeadMLP(spec)


def split_task(rows: Tensor, num_tasks: int) -> tuple[Tensor, Tensor | None]:
    """Split rows (n, d) into inputs and the task one-hot at their end.

    Returns:
        Inputs (n, d - num_tasks) and task (n, num_tasks); all of `rows` and None with one task.
    """
    if num_tasks == 1:
        return rows, None
    return rows[:, :-num_tasks], rows[:, -num_tasks:]


def with_task(batch: Batch, num_tasks: int, task: int | Tensor) -> Batch:
    """The rows of a batch with the one-hot of other tasks at the end of their observations.

    What was sampled from the policy for the rows' own task is left out.

    Args:
        batch: Rows with "observations", and perhaps "next_observations".
        num_tasks: Length of the one-hot; 1 for none.
        task: One task for all rows, or one for each, (n,) of int64.
    """
    if num_tasks == 1:
        return batch
    changed = {k: v for k, v in batch.items() if not k.startswith("policy_")}
    for name in ("observations", "next_observations"):
        if name in changed:
            rows = changed[name]
            ids = torch.as_tensor(task, device=rows.device).expand(len(rows))
            one_hot = nn.functional.one_hot(ids, num_tasks).to(rows.dtype)
            changed[name] = torch.cat([rows[:, :-num_tasks], one_hot], dim=1)
    return changed


class Actor(BasePolicy):
    """Squashed Gaussian policy with one head per task.

    Args:
        network: Maps the features without the task one-hot, and the one-hot, to means and log
            standard deviations: (1, n, 2 * action_dim). The one-hot chooses the head and is not an
            input of the trunk.
        num_tasks: Length of the one-hot at the end of each observation; 1 for none.
        **base: Arguments of Stable-Baselines3's `BasePolicy`.
    """

    features_extractor: BaseFeaturesExtractor

    def __init__(self, network: nn.Module, num_tasks: int, **base: Any) -> None:
        super().__init__(**base, squash_output=True)
        self.network = network
        self.num_tasks = num_tasks

    def gaussian(self, observations: PyTorchObs) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, (n, action_dim) each, before the squashing tanh."""
        features = self.extract_features(observations, self.features_extractor)
        inputs, task = split_task(features, self.num_tasks)
        mean, log_std = self.network(inputs, task)[0].chunk(2, dim=-1)
        return mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)

    def mean(self, observations: PyTorchObs) -> Tensor:
        """Means before the squashing tanh, (n, action_dim)."""
        return self.gaussian(observations)[0]

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
        network: Maps the features without the task one-hot followed by the action, and the one-hot,
            to values: (n_critics, n, 1).
        num_tasks: Length of the one-hot at the end of each observation; 1 for none.
        **base: Arguments of Stable-Baselines3's `BaseModel`.
    """

    features_extractor: BaseFeaturesExtractor

    def __init__(self, network: nn.Module, num_tasks: int, **base: Any) -> None:
        super().__init__(**base)
        self.network = network
        self.num_tasks = num_tasks

    def forward(self, observations: PyTorchObs, actions: Tensor) -> Tensor:
        """Values (n_critics, n) of actions (n, action_dim) in [-1, 1]."""
        features = self.extract_features(observations, self.features_extractor)
        inputs, task = split_task(features, self.num_tasks)
        values: Tensor = self.network(torch.cat([inputs, actions], dim=1), task)
        return values.squeeze(-1)


class DeterministicActor(BasePolicy):
    """Squashed deterministic policy with one head per task.

    Args:
        network: Maps the features without the task one-hot, and the one-hot, to actions before
            the squashing: (1, n, action_dim).
        num_tasks: Length of the one-hot at the end of each observation; 1 for none.
        **base: Arguments of Stable-Baselines3's `BasePolicy`.
    """

    features_extractor: BaseFeaturesExtractor

    def __init__(self, network: nn.Module, num_tasks: int, **base: Any) -> None:
        super().__init__(**base, squash_output=True)
        self.network = network
        self.num_tasks = num_tasks

    def mean(self, observations: PyTorchObs) -> Tensor:
        """Actions before the squashing tanh, (n, action_dim)."""
        features = self.extract_features(observations, self.features_extractor)
        inputs, task = split_task(features, self.num_tasks)
        mean: Tensor = self.network(inputs, task)[0]
        return mean

    def forward(self, observations: PyTorchObs) -> Tensor:
        """Actions (n, action_dim) in (-1, 1)."""
        return torch.tanh(self.mean(observations))

    def _predict(self, observation: PyTorchObs, deterministic: bool = False) -> Tensor:
        action: Tensor = self(observation)
        return action


class _TaskNetworks(BasePolicy):
    """Builds the networks of actor-critic policies; inherited before Stable-Baselines3's class.

    Args:
        observation_space: A flat box that ends with the task one-hot if there are several tasks.
        action_space: A box.
        lr_schedule: Learning rate by the remaining share of training.
        net_arch: Units of the hidden layers, of both or by "pi" and "qf".
        n_critics: Independent action-value functions.
        num_tasks: Length of the task one-hot at the end of the observation; 1 for none.
        layer_norm: LayerNorm and tanh after the first layer, as in Continual World.
        build_network: Makes each component's network.
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
        layer_norm: bool = False,
        build_network: NetworkBuilder = build_plain_network,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("share_features_extractor", False):
            raise ValueError(
                "share_features_extractor=True is not supported: each component owns its network"
            )
        self._num_tasks = num_tasks
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
            **kwargs,
        )

    def make_critic(self, features_extractor: Any = None) -> Critic:
        """Build the critics, or their target."""
        base = self._base(features_extractor)
        network = self._network(
            "value",
            base["features_extractor"].features_dim + get_action_dim(self.action_space),
            hidden=self._critic_arch,
            outputs=(1,),
            copies=self._n_critics,
        )
        return Critic(network, self._num_tasks, **base).to(self.device)

    def _actor_network(self, base: dict[str, Any], outputs_per_action: int) -> nn.Module:
        return self._network(
            "policy",
            base["features_extractor"].features_dim,
            hidden=self._actor_arch,
            outputs=(get_action_dim(self.action_space),) * outputs_per_action,
        )

    def _base(self, features_extractor: BaseFeaturesExtractor | None) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "normalize_images": self.normalize_images,
            "features_extractor": features_extractor or self.make_features_extractor(),
        }

    def _network(
        self,
        role: Role,
        input_dim: int,
        hidden: list[int],
        outputs: tuple[int, ...],
        copies: int = 1,
    ) -> nn.Module:
        spec = NetworkSpec(
            input_dim=input_dim - (self._num_tasks if self._num_tasks > 1 else 0),
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
        base = self._base(features_extractor)
        return Actor(self._actor_network(base, 2), self._num_tasks, **base).to(self.device)


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
        base = self._base(features_extractor)
        network = self._actor_network(base, 1)
        return DeterministicActor(network, self._num_tasks, **base).to(self.device)
