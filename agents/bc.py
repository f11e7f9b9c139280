"""Behaviour cloning: the policy of soft actor-critic, learned from an expert's actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from agents.components import gaussian
from agents.learner import check
from agents.policies import Actor, ContinualSACPolicy
from agents.supervised import SupervisedComponent, SupervisedLearner, check_options
from lifelong_rl.benchmark.seeding import derive_seed
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, Component


class BC(SupervisedLearner):
    """Behaviour cloning: supervised learning of an expert's actions in a task.

    The supervised twin of `SAC`: the same network with the same initial weights for the same seed,
    the same optimizer, and at each task demonstrations that start as SAC's first episodes do.

    Args:
        env: Environment of the first task to learn. It has `demonstrations(episodes, seed, noise)`
            with "observations" (n, obs_dim) and the expert's "actions" (n, action_dim) there.
        method: See `TaskLearner`.
        hidden: Units of each hidden layer.
        layer_norm: LayerNorm and tanh after the first layer.
        episodes: Demonstrations of each task.
        noise: Standard deviation of what is added to the expert's actions while it demonstrates;
            what is learned are the actions without it. So the data holds states beside the
            expert's own path and how to return from them (Laskey et al. 2017, DART).
        seed: Of the network and the demonstrations.
        **options: As for `SupervisedLearner`.

    Raises:
        UserError: The environment has no demonstrations.
    """

    policy: Actor

    def __init__(
        self,
        env: Any,
        method: ContinualMethod | None = None,
        *,
        hidden: Sequence[int] = (128, 128),
        layer_norm: bool = True,
        episodes: int = 100,
        noise: float = 0.1,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.hidden = list(hidden)
        self.layer_norm = layer_norm
        self.episodes = episodes
        self.noise = noise
        self.seed = seed
        super().__init__(env, method, seed=seed, **options)

    @classmethod
    def build(
        cls,
        env: Any,
        *,
        num_tasks: int,
        method: ContinualMethod | None,
        seed: int,
        hidden: Sequence[int] = (128, 128),
        layer_norm: bool = True,
        learning_rate: float = 1e-3,
        batch_size: int = 256,
        episodes: int = 100,
        noise: float = 0.1,
        updates_per_step: float = 0.5,
        reset_optimizers: bool = True,
    ) -> BC:
        """Build the agent as benchmark runs use it.

        Args:
            env: Environment of the first task to learn; see the class.
            num_tasks: Number of tasks in the sequence.
            method: The continual method.
            seed: Of the network and the demonstrations.
            hidden: Units of each hidden layer.
            layer_norm: LayerNorm and tanh after the first layer.
            learning_rate: Of the optimizer.
            batch_size: Rows in an update.
            episodes: Demonstrations of each task.
            noise: See the class.
            updates_per_step: Updates for each step; see `SupervisedLearner.learn_task`.
            reset_optimizers: See `TaskLearner`.

        Raises:
            ValueError: A number outside its range.
            UserError: The environment has no demonstrations.
        """
        check_options(hidden, learning_rate, batch_size, updates_per_step)
        check("episodes", episodes, episodes > 0, "at least 1")
        check("noise", noise, 0 <= noise < math.inf, "at least 0 and finite")
        return cls(
            env,
            method,
            num_tasks=num_tasks,
            seed=seed,
            hidden=hidden,
            layer_norm=layer_norm,
            learning_rate=learning_rate,
            batch_size=batch_size,
            episodes=episodes,
            noise=noise,
            updates_per_step=updates_per_step,
            reset_optimizers=reset_optimizers,
        )

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions (n, action_dim) for observations (n, obs_dim)."""
        return self.policy.predict(observations, deterministic=True)[0]

    def _make_components(self) -> dict[str, Component]:
        return {"policy": BCPolicy(self)}

    def _make_policy(self, env: Any) -> Actor:
        if not hasattr(env, "demonstrations"):
            raise UserError(
                "BC learns from demonstrations, such as those of the sequence 'arm3', and these "
                "tasks have none: labelled data is for the agent 'classifier'"
            )
        return _ActorAlone(
            env.observation_space,
            env.action_space,
            lambda remaining: 0.0,
            net_arch=self.hidden,
            layer_norm=self.layer_norm,
            num_tasks=self.num_tasks,
            build_network=self._build_network,
        ).actor

    def _load_data(self, task_id: int, env: Any) -> Batch:
        seed = derive_seed(self.seed, 1 + task_id)  # that of the episodes that SAC learns from
        shown = env.demonstrations(self.episodes, seed=seed, noise=self.noise)
        actions = self.policy.scale_action(shown["actions"])
        return {
            "observations": torch.as_tensor(shown["observations"], dtype=torch.float32),
            "actions": torch.as_tensor(actions, dtype=torch.float32),
        }


class BCPolicy(SupervisedComponent):
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
    _agent: BC

    def loss(self, batch: Batch) -> Tensor:
        """Mean over rows and entries of (tanh μ(s) − a)²."""
        mean, _ = self._agent.policy.gaussian(batch["observations"])
        return F.mse_loss(torch.tanh(mean), batch["actions"])

    def predict(self, batch: Batch) -> Distribution:
        """Normal(action before the squashing tanh, 1)."""
        mean, _ = self._agent.policy.gaussian(batch["observations"])
        return gaussian(mean)


class _ActorAlone(ContinualSACPolicy):
    """SAC's policy class with nothing in it but the actor."""

    def _build(self, lr_schedule: Schedule) -> None:
        self.actor = self.make_actor()
