"""The parts of soft actor-critic that gradient steps update (Haarnoja et al. 2018)."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Optimizer

from lifelong_rl.agents.actor_critic import Actor, Critic, of_task
from lifelong_rl.agents.components import AgentComponent, TwinCritic, gaussian
from lifelong_rl.learning import Batch


class EntropyWeight(Protocol):
    """The weight α of the policy's entropy."""

    def alpha(self, task: Tensor | None) -> Tensor:
        """α for each row, (n,) or one value for all, given their tasks (n,); no gradient."""
        ...


class FixedEntropyCoefficient:
    """An α that stays as it is.

    Args:
        value: A scalar.
    """

    def __init__(self, value: Tensor) -> None:
        self.value = value

    def alpha(self, task: Tensor | None) -> Tensor:
        """The value."""
        return self.value


class EntropyCoefficient(nn.Module):
    """The learned weight α of the policy's entropy, one for each task.

    Batch: "policy_log_prob" (n,), and "task" (n,) where there are several.
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

    def alpha(self, task: Tensor | None) -> Tensor:
        """α of each row's task, (n,), or (1,) with one task; no gradient."""
        with torch.no_grad():
            return self.forward(task).exp()

    def forward(self, task: Tensor | None) -> Tensor:
        """Log α of each row's task: (n,), or (1,) with one task."""
        return self.log_value if task is None else of_task(self.log_value, task)

    def loss(self, batch: Batch) -> Tensor:
        """Mean of −log α (log π + target entropy), as Stable-Baselines3 optimises log α."""
        surplus = batch["policy_log_prob"].detach() + self.target_entropy
        return -(self.forward(batch.get("task")) * surplus).mean()


class SACActor(AgentComponent):
    """The policy as a component.

    Batch: "observations" (n, obs_dim); optionally "policy_actions" (n, action_dim) and
    "policy_log_prob" (n,), a sample of the current policy that the caller has at hand.

    Args:
        module: The policy.
        optimizer: Steps its parameters.
        num_tasks: See `AgentComponent`.
        critic: What it is to make large.
        entropy: Gives the weight of its entropy.
    """

    name = "actor"
    module: Actor

    def __init__(
        self,
        module: Actor,
        optimizer: Optimizer,
        *,
        num_tasks: int,
        critic: Critic,
        entropy: EntropyWeight,
    ) -> None:
        super().__init__(module, optimizer, num_tasks=num_tasks)
        self.critic = critic
        self.entropy = entropy

    def loss(self, batch: Batch) -> Tensor:
        """Mean of α log π(a|s) − min Q(s, a), a ~ π (Haarnoja et al. 2018b, eq. 7)."""
        observations, task = batch["observations"], batch.get("task")
        if "policy_actions" in batch:
            actions, log_prob = batch["policy_actions"], batch["policy_log_prob"]
        else:
            actions, log_prob = self.module.action_log_prob(observations, task)
        values = self.critic(observations, actions, task).amin(dim=0)
        entropy = self.entropy.alpha(task) * log_prob
        loss: Tensor = (entropy - values).mean()
        return loss

    def predict(self, batch: Batch) -> Distribution:
        """The action's Gaussian before the squashing tanh.

        Fisher information and KL divergences are the same before and after the bijection.
        """
        mean, log_std = self.module.gaussian(batch["observations"], batch.get("task"))
        return gaussian(mean, log_std.exp())


class SACCritic(TwinCritic):
    """The twin action-value functions as a component.

    Args:
        *critic: As for `TwinCritic`.
        actor: The policy whose values they are.
        entropy: Gives the weight of its entropy.
        **more: As for `TwinCritic`.
    """

    def __init__(self, *critic: Any, actor: Actor, entropy: EntropyWeight, **more: Any) -> None:
        super().__init__(*critic, **more)
        self.actor = actor
        self.entropy = entropy

    def loss(self, batch: Batch) -> Tensor:
        """Half the squared error to the soft Bellman target (Haarnoja et al. 2018b, eq. 5)."""
        next_observations, task = batch["next_observations"], batch.get("task")
        with torch.no_grad():
            next_actions, next_log_prob = self.actor.action_log_prob(next_observations, task)
            next_values = self.target(next_observations, next_actions, task).amin(dim=0)
            next_values -= self.entropy.alpha(task) * next_log_prob
            targets = self.targets(batch, next_values)
        loss: Tensor = 0.5 * (self.values(batch) - targets).square().mean(dim=1).sum()
        return loss
