"""The parts of soft actor-critic that gradient steps update (Haarnoja et al. 2018)."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Optimizer

from lifelong_rl.agents.actor_critic import Actor, Critic, Draw
from lifelong_rl.agents.components import AgentComponent, TwinCritic, gaussian
from lifelong_rl.learning import Batch
from lifelong_rl.learning.protocols import Gradient
from lifelong_rl.networks import MultiHeadMLP
from lifelong_rl.networks.spec import of_task, one_task, rows_of_task


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

    Args:
        num_tasks: Number of tasks.
        initial: α of each at first.
        target_entropy: Of the policy, for all tasks or for each, (num_tasks,).
    """

    name = "entropy coefficient"
    target_entropy: Tensor

    def __init__(self, num_tasks: int, initial: float, target_entropy: float | Tensor) -> None:
        super().__init__()
        self.initial = initial
        targets = torch.as_tensor(target_entropy, dtype=torch.float32).expand(num_tasks).clone()
        self.register_buffer("target_entropy", targets, persistent=False)
        self.log_value = nn.Parameter(torch.log(torch.ones(num_tasks) * initial))
        self.optimizer: Optimizer

    @property
    def module(self) -> nn.Module:
        """Itself: it holds the one parameter."""
        return self

    def alpha(self, task: Tensor | None) -> Tensor:
        """α of each row's task, (n,), or (1,) where they are known to be of one; no gradient."""
        with torch.no_grad():
            return self.forward(task).exp()

    def forward(self, task: Tensor | None) -> Tensor:
        """Log α of each row's task: (n,), or (1,) where they are known to be of one."""
        return of_task(self.log_value, task)

    @torch.no_grad()
    def analytic_gradient(self, batch: Batch) -> Gradient | None:
        """See `AgentComponent`."""
        log_value, task = self.log_value, batch.get("task")
        index = one_task(task, log_value.shape[0])
        gradient = torch.zeros_like(log_value)
        if index is None:
            assert task is not None
            surplus = batch["policy_log_prob"] + self.target_entropy[task]
            gradient.index_add_(0, task, surplus, alpha=-1 / surplus.shape[0])
            return torch.dot(log_value, gradient), [(log_value, gradient)]
        gradient[index] = -(batch["policy_log_prob"].mean() + self.target_entropy[index])
        return log_value[index] * gradient[index], [(log_value, gradient)]

    def loss(self, batch: Batch) -> Tensor:
        """Mean of −log α (log π + target entropy), as Stable-Baselines3 optimises log α."""
        task = batch.get("task")
        surplus = batch["policy_log_prob"].detach() + of_task(self.target_entropy, task)
        return -(self.forward(task) * surplus).mean()


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
        self._draw: Draw | None = None
        self._next: tuple[tuple[Tensor, Tensor | None], Tensor, Tensor] | None = None

    def sample(self, batch: Batch) -> Batch:
        """Sample actions of the current policy for an update, to be added to its batch.

        Where gradients can be written down, both observations go through the network at once.
        """
        observations, task = batch["observations"], batch.get("task")
        networks = self._networks()
        if networks is None:
            actions, log_prob = self.module.action_log_prob(observations, task)
            return {"policy_actions": actions, "policy_log_prob": log_prob}
        network = networks[0]
        n, dim = observations.shape[0], network.spec.output_dim // 2
        rows = torch.cat([observations, batch["next_observations"]])
        noise = torch.empty(2 * n, dim, dtype=network.heads.weight.dtype, device=rows.device)
        noise.narrow(0, 0, n).normal_()  # in the order of two passes
        noise.narrow(0, n, n).normal_()
        if task is not None:
            known = one_task(task, self.num_tasks)
            if known is None:
                task = torch.cat([task, task])
            else:
                task = rows_of_task(known, 2 * n, rows.device)
        draw = self.module.draw(network, rows, task, noise)
        self._draw = draw.first(n)
        self._next = (
            (batch["next_observations"], batch.get("task")),
            draw.actions.narrow(0, n, n),
            draw.log_prob.narrow(0, n, n),
        )
        return {"policy_actions": self._draw.actions, "policy_log_prob": self._draw.log_prob}

    def next_actions(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """What `sample` drew for the next observations of the very same rows, if it did."""
        if self._next is None:
            return None
        (rows, task), actions, log_prob = self._next
        same = batch["next_observations"] is rows and batch.get("task") is task
        return (actions, log_prob) if same else None

    @torch.no_grad()
    def analytic_gradient(self, batch: Batch) -> Gradient | None:
        """See `AgentComponent`."""
        networks, task = self._networks(), batch.get("task")
        if networks is None:
            return None
        network, critic = networks
        observations, draw = self.module.features(batch["observations"]), self._draw
        if draw is None or batch.get("policy_actions") is not draw.actions:
            shape = observations.shape[0], network.spec.output_dim // 2
            noise = torch.randn(shape, dtype=observations.dtype, device=observations.device)
            draw = self.module.draw(network, observations, task, noise)
        self._draw = None
        inputs = torch.cat([observations, draw.actions], dim=1)
        values, trace = critic.trace(inputs, task)
        lowest, index = values.squeeze(-1).min(dim=0)
        alpha = self.entropy.alpha(task)
        loss = (alpha * draw.log_prob).sub_(lowest).mean()
        n = inputs.shape[0]
        by_value = torch.zeros_like(values).scatter_(0, index.view(1, n, 1), -1 / n)
        _, by_input = critic.pull(trace, by_value, parameters=False, inputs=True)
        assert by_input is not None
        size = draw.actions.shape[1]
        by_action = by_input.narrow(1, by_input.shape[1] - size, size)
        return loss, self.module.pull(network, draw, by_action, alpha.view(-1, 1) / n)

    def loss(self, batch: Batch) -> Tensor:
        """Mean of α log π(a|s) − min Q(s, a), a ~ π (Haarnoja et al. 2018b, eq. 7)."""
        observations, task = batch["observations"], batch.get("task")
        if "policy_actions" in batch and batch["policy_actions"].requires_grad:
            actions, log_prob = batch["policy_actions"], batch["policy_log_prob"]
        else:
            actions, log_prob = self.module.action_log_prob(observations, task)
        values = self.critic(observations, actions, task).amin(dim=0)
        entropy = self.entropy.alpha(task) * log_prob
        loss: Tensor = (entropy - values).mean()
        return loss

    def _networks(self) -> tuple[MultiHeadMLP, MultiHeadMLP] | None:
        """Those of policy and critic if the gradients of both can be written down."""
        if type(self) is not SACActor:
            return None
        policy, critic = self.module.traced, self.critic.traced
        return None if policy is None or critic is None else (policy, critic)

    def predict(self, batch: Batch) -> Distribution:
        """The action's Gaussian before the squashing tanh.

        Fisher information and KL divergences are the same before and after the bijection.
        """
        mean, log_std = self.module.gaussian(batch["observations"], batch.get("task"))
        return gaussian(mean, log_std.exp())


class SACCritic(TwinCritic):
    """The twin action-value functions as a component (Haarnoja et al. 2018b, eq. 5).

    Args:
        *critic: As for `TwinCritic`.
        actor: The policy whose values they are.
        entropy: Gives the weight of its entropy.
        sampler: May have drawn the policy's actions for the next observations already.
        **more: As for `TwinCritic`.
    """

    scale = 0.5

    def __init__(
        self,
        *critic: Any,
        actor: Actor,
        entropy: EntropyWeight,
        sampler: SACActor | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*critic, **more)
        self.sampler = sampler
        self.actor = actor
        self.entropy = entropy

    def next_values(self, batch: Batch) -> Tensor:
        """Soft values of the next states (Haarnoja et al. 2018b, eq. 3), without a graph."""
        next_observations, task = batch["next_observations"], batch.get("task")
        drawn = None if self.sampler is None else self.sampler.next_actions(batch)
        actions, log_prob = drawn or self.actor.action_log_prob(next_observations, task)
        values: Tensor = self.target(next_observations, actions, task).amin(dim=0)
        return values.sub_(self.entropy.alpha(task) * log_prob)
