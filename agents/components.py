"""What the components of all agents share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.optim import Optimizer

from lifelong_rl.agents.policies import with_task
from lifelong_rl.learning import Batch, Role


class AgentComponent:
    """A network of an agent, which it is looked up in at each use; to be given loss and predict.

    Attributes:
        network: Name of the agent's attribute that holds the module, and in it the optimizer.
    """

    name: str
    role: Role = "policy"
    inputs: tuple[str, ...] = ("observations",)
    replayable = True
    network: str

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    @property
    def module(self) -> nn.Module:
        """Holds the network."""
        module: nn.Module = getattr(self._agent, self.network)
        return module

    @property
    def optimizer(self) -> Optimizer:
        """Steps the network's parameters."""
        optimizer: Optimizer = getattr(self._agent, self.network).optimizer
        return optimizer

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        """The same rows as if they belonged to other tasks."""
        return with_task(batch, self._agent.num_tasks, task)


class TwinCritic(AgentComponent):
    """Action-value functions that are learned from a bootstrapped target.

    Batch: "observations", "actions", "next_observations", "rewards" (n, 1), "dones" (n, 1), and
    "discounts" (n, 1) where returns span several steps.
    """

    name = "critic"
    role: Role = "value"
    inputs = ("observations", "actions")
    network = "critic"

    def targets(self, batch: Batch, next_values: Tensor) -> Tensor:
        """Rewards and discounted values (n,) of the next states, unless the episode is done."""
        discounts = batch["discounts"].squeeze(1) if "discounts" in batch else self._agent.gamma
        continues = 1 - batch["dones"].squeeze(1)
        return batch["rewards"].squeeze(1) + continues * discounts * next_values

    def predict(self, batch: Batch) -> Distribution:
        """Normal(Q(s, a), 1) over the vector of the copies' values."""
        return gaussian(self._agent.critic(batch["observations"], batch["actions"]).transpose(0, 1))


def gaussian(mean: Tensor, std: Tensor | None = None) -> Distribution:
    """A normal distribution of each row (n, k) with independent entries; by default of width 1."""
    std = torch.ones_like(mean) if std is None else std
    return Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)
