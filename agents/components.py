"""What the components of all agents share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.optim import Optimizer

from lifelong_rl.agents.actor_critic import Critic
from lifelong_rl.learning import Batch, Role
from lifelong_rl.learning.protocols import Gradient
from lifelong_rl.learning.rows import with_task


class AgentComponent:
    """A network and what steps it; to be given loss and predict.

    It is made when these are there, and holds all that its loss reads. It does not know its agent.

    Args:
        module: Holds the network.
        optimizer: Steps the module's parameters.
        num_tasks: Number of tasks; with more than one, batches have a "task".

    Attributes:
        reads: What `predict` reads in a batch beside the task.
        inputs: All that it reads.
        followers: See `lifelong_rl.learning.protocols.Component`.
    """

    name: str
    role: Role = "policy"
    reads: ClassVar[tuple[str, ...]] = ("observations",)
    replayable = True
    module: nn.Module
    followers: tuple[nn.Module, ...] = ()

    def __init__(self, module: nn.Module, optimizer: Optimizer, *, num_tasks: int) -> None:
        self.module = module
        self.optimizer = optimizer
        self.num_tasks = num_tasks
        self.inputs = self.reads if num_tasks == 1 else (*self.reads, "task")

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        """The same rows as if they belonged to other tasks."""
        return with_task(batch, self.num_tasks, task)

    def analytic_gradient(self, batch: Batch) -> Gradient | None:
        """The loss and its gradient by formulae, without a graph; None where there are none."""
        return None


class TwinCritic(AgentComponent, ABC):
    """Action-value functions that are learned from a bootstrapped target.

    Batch: "observations", "actions", "next_observations", "rewards" (n, 1), "dones" (n, 1),
    "discounts" (n, 1) where returns span several steps, and "task" (n,) where there are several.

    Args:
        module: The action-value functions.
        optimizer: Steps their parameters.
        num_tasks: See `AgentComponent`.
        target: Follows them; gives the values of next states.
        gamma: Discount of a step.

    Attributes:
        scale: Factor of the squared error.
    """

    name = "critic"
    role: Role = "value"
    scale: ClassVar[float] = 1.0
    reads = ("observations", "actions")
    module: Critic

    def __init__(
        self,
        module: Critic,
        optimizer: Optimizer,
        *,
        num_tasks: int,
        target: Critic,
        gamma: float,
    ) -> None:
        super().__init__(module, optimizer, num_tasks=num_tasks)
        self.target = target
        self.followers = (target,)
        self.gamma = gamma

    @abstractmethod
    def next_values(self, batch: Batch) -> Tensor:
        """Values of the next states, (n,), whose discounted return is to be learned."""

    def loss(self, batch: Batch) -> Tensor:
        """`scale` times the mean squared error to the bootstrapped target, summed over critics."""
        with torch.no_grad():
            targets = self.targets(batch, self.next_values(batch))
        loss: Tensor = self.scale * (self.values(batch) - targets).square().mean(dim=1).sum()
        return loss

    @torch.no_grad()
    def analytic_gradient(self, batch: Batch) -> Gradient | None:
        """See `AgentComponent`."""
        network, own = self.module.traced, type(self)
        if network is None or (own.loss, own.values) != (TwinCritic.loss, TwinCritic.values):
            return None
        targets = self.targets(batch, self.next_values(batch))
        task = batch.get("task")
        inputs = self.module.inputs(batch["observations"], batch["actions"], task)
        values, trace = network.trace(inputs, task)
        error = values.squeeze(-1).sub_(targets)
        loss = self.scale * error.square().mean(dim=1).sum()
        by_value = error.mul_(2 * self.scale / inputs.shape[0]).unsqueeze(-1)
        return loss, network.pull(trace, by_value)[0]

    def targets(self, batch: Batch, next_values: Tensor) -> Tensor:
        """Rewards and discounted values (n,) of the next states, unless the episode is done."""
        discounts = batch["discounts"].squeeze(1) if "discounts" in batch else self.gamma
        continues = torch.rsub(batch["dones"].squeeze(1), 1)
        return batch["rewards"].squeeze(1) + continues * discounts * next_values

    def predict(self, batch: Batch) -> Distribution:
        """Normal(Q(s, a), 1) over the vector of the copies' values."""
        return gaussian(self.values(batch).transpose(0, 1))

    def values(self, batch: Batch) -> Tensor:
        """The values of the batch's actions, (n_critics, n)."""
        values: Tensor = self.module(batch["observations"], batch["actions"], batch.get("task"))
        return values


def gaussian(mean: Tensor, std: Tensor | None = None) -> Distribution:
    """A normal distribution of each row (n, k) with independent entries; by default of width 1."""
    std = torch.ones_like(mean) if std is None else std
    return Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)
