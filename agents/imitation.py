"""Imitation of an expert with the policy of soft actor-critic: what its learners share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from lifelong_rl.agents.components import gaussian
from lifelong_rl.agents.policies import Actor, ContinualSACPolicy
from lifelong_rl.agents.supervised import SupervisedComponent, SupervisedLearner
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Batch, Component


class ImitationLearner(SupervisedLearner):
    """Supervised learning of an expert's actions by the actor of `SAC`.

    The network has the same initial weights as SAC's for the same seed, and the optimizer is the
    same.

    Args:
        env: Environment of the first task to learn.
        method: See `TaskLearner`.
        hidden: Units of each hidden layer.
        layer_norm: LayerNorm and tanh after the first layer.
        **options: As for `SupervisedLearner`.
    """

    policy: Actor

    def __init__(
        self,
        env: Any,
        method: ContinualMethod | None = None,
        *,
        hidden: Sequence[int] = (128, 128),
        layer_norm: bool = True,
        **options: Any,
    ) -> None:
        self.hidden = list(hidden)
        self.layer_norm = layer_norm
        super().__init__(env, method, **options)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions (n, action_dim) for observations (n, obs_dim)."""
        return self.policy.predict(observations, deterministic=True)[0]

    def _make_components(self) -> dict[str, Component]:
        return {"policy": ImitationPolicy(self)}

    def _make_policy(self, env: Any) -> Actor:
        return self._make_actor(env.observation_space, env.action_space)

    def _make_actor(self, observations: Any, actions: Any, **more: Any) -> Actor:
        """The actor for these spaces, with `more` arguments of its policy class."""
        return _ActorAlone(
            observations,
            actions,
            lambda remaining: 0.0,
            net_arch=self.hidden,
            layer_norm=self.layer_norm,
            num_tasks=self.num_tasks,
            build_network=self._build_network,
            **more,
        ).actor


class ImitationPolicy(SupervisedComponent):
    """The policy as a component.

    Batch: "observations" (n, obs_dim) and the expert's "actions" (n, action_dim) in [-1, 1].

    The loss is the squared error of the deterministic action and not the likelihood of the
    expert's action under the squashed Gaussian. Experts saturate: at an action of ±1 the
    likelihood is that of an infinite number before the tanh, and how large the number is made
    decides the fit. Experts are deterministic too, so that the best standard deviation is zero and
    the likelihood has no bound. The squared error is bounded and is what `act` is judged by. The
    network's log standard deviations, there to be equal to SAC's, are then not learned; a
    prediction therefore has a standard deviation of 1, as TD3's has, so that methods see what is
    learned and nothing else.
    """

    name = "policy"
    _agent: ImitationLearner

    def loss(self, batch: Batch) -> Tensor:
        """Mean over rows and entries of (tanh μ(s) − a)²."""
        mean = self._agent.policy.mean(batch["observations"])
        return F.mse_loss(torch.tanh(mean), batch["actions"])

    def predict(self, batch: Batch) -> Distribution:
        """Normal(action before the squashing tanh, 1)."""
        return gaussian(self._agent.policy.mean(batch["observations"]))


class _ActorAlone(ContinualSACPolicy):
    """SAC's policy class with nothing in it but the actor."""

    def _build(self, lr_schedule: Schedule) -> None:
        self.actor = self.make_actor()
