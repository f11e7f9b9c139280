"""The parts of soft actor-critic that gradient steps update (Haarnoja et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.optim import Optimizer

from agents.policies import split_task, with_task
from lifelong_rl.learning import Batch, Role

if TYPE_CHECKING:
    from agents.sac import SAC


class SACActor:
    """The policy as a component.

    Batch: "observations" (n, obs_dim); optionally "policy_actions" (n, action_dim) and
    "policy_log_prob" (n,), a sample of the current policy that the caller has at hand.
    """

    name = "actor"
    role: Role = "policy"
    inputs = ("observations",)
    replayable = True

    def __init__(self, agent: SAC) -> None:
        self._agent = agent

    @property
    def module(self) -> nn.Module:
        """The squashed Gaussian policy."""
        return self._agent.actor

    @property
    def optimizer(self) -> Optimizer:
        """Steps the policy's parameters."""
        return self._agent.actor.optimizer

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        """The same rows as if they belonged to other tasks."""
        return with_task(batch, self._agent.num_tasks, task)

    def loss(self, batch: Batch) -> Tensor:
        """Mean of α log π(a|s) − min Q(s, a), a ~ π (Haarnoja et al. 2018b, eq. 7)."""
        observations = batch["observations"]
        if "policy_actions" in batch:
            actions, log_prob = batch["policy_actions"], batch["policy_log_prob"]
        else:
            actions, log_prob = self._agent.actor.action_log_prob(observations)
        values = self._agent.critic(observations, actions).amin(dim=0)
        entropy = self._agent.entropy_coefficient(observations) * log_prob
        loss: Tensor = (entropy - values).mean()
        return loss

    def predict(self, batch: Batch) -> Distribution:
        """The action's Gaussian before the squashing tanh.

        Fisher information and KL divergences are the same before and after the bijection.
        """
        mean, log_std = self._agent.actor.gaussian(batch["observations"])
        normal = Normal(mean, log_std.exp(), validate_args=False)
        return Independent(normal, 1, validate_args=False)


class SACCritic:
    """The twin action-value functions as a component.

    Batch: "observations", "actions", "next_observations", "rewards" (n, 1), "dones" (n, 1), and
    "discounts" (n, 1) where returns span several steps.
    """

    name = "critic"
    role: Role = "value"
    inputs = ("observations", "actions")
    replayable = True

    def __init__(self, agent: SAC) -> None:
        self._agent = agent

    @property
    def module(self) -> nn.Module:
        """The twin critics."""
        return self._agent.critic

    @property
    def optimizer(self) -> Optimizer:
        """Steps the critics' parameters."""
        return self._agent.critic.optimizer

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        """The same rows as if they belonged to other tasks."""
        return with_task(batch, self._agent.num_tasks, task)

    def loss(self, batch: Batch) -> Tensor:
        """Half the squared error to the soft Bellman target (Haarnoja et al. 2018b, eq. 5)."""
        agent = self._agent
        next_observations = batch["next_observations"]
        with torch.no_grad():
            next_actions, next_log_prob = agent.actor.action_log_prob(next_observations)
            next_values = agent.critic_target(next_observations, next_actions).amin(dim=0)
            next_values -= agent.entropy_coefficient(next_observations) * next_log_prob
            discounts = batch["discounts"].squeeze(1) if "discounts" in batch else agent.gamma
            continues = 1 - batch["dones"].squeeze(1)
            targets = batch["rewards"].squeeze(1) + continues * discounts * next_values
        values = agent.critic(batch["observations"], batch["actions"])
        loss: Tensor = 0.5 * (values - targets).square().mean(dim=1).sum()
        return loss

    def predict(self, batch: Batch) -> Distribution:
        """Normal(Q(s, a), 1) over the vector of the copies' values."""
        values = self._agent.critic(batch["observations"], batch["actions"]).transpose(0, 1)
        normal = Normal(values, torch.ones_like(values), validate_args=False)
        return Independent(normal, 1, validate_args=False)


class EntropyCoefficient(nn.Module):
    """The learned weight α of the policy's entropy, one for each task.

    Batch: "observations" and "policy_log_prob" (n,).
    """

    name = "entropy coefficient"

    def __init__(self, num_tasks: int, initial: float, target_entropy: float) -> None:
        super().__init__()
        self.initial = initial
        self.target_entropy = target_entropy
        self.log_value = nn.Parameter(torch.log(torch.ones(num_tasks) * initial))
        self.optimizer: Optimizer

    @property
    def module(self) -> nn.Module:
        """Itself: it holds the one parameter."""
        return self

    def forward(self, observations: Tensor) -> Tensor:
        """Log α of each row's task: (n,), or (1,) with one task."""
        num_tasks = len(self.log_value)
        _, task = split_task(observations, num_tasks)
        return self.log_value if task is None else task @ self.log_value

    def loss(self, batch: Batch) -> Tensor:
        """Mean of −log α (log π + target entropy), as Stable-Baselines3 optimises log α."""
        surplus = batch["policy_log_prob"].detach() + self.target_entropy
        return -(self.forward(batch["observations"]) * surplus).mean()
