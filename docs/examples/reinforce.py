"""An agent from outside: REINFORCE (Williams 1992), with every gradient step open to methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Batch, StateTree, gradient_step, split_task
from lifelong_rl.learning.protocols import Progress
from lifelong_rl.networks import NetworkSpec
from lifelong_rl.registry import AGENTS

STD = 0.5
"""Standard deviation of the actions that it explores with."""


class Policy:
    """The policy as a component: the network, its loss, and what it predicts.

    Batch: "observations" (n, input_dim), "task" (n,) of int64, "actions" (n, action_dim) and
    "advantages" (n, 1).
    """

    name = "policy"
    role = "policy"  # what the agent is evaluated by
    inputs = ("observations", "task")  # what `predict` reads
    replayable = False  # the loss holds only for actions that the current policy has just drawn

    def __init__(self, network: torch.nn.Module, learning_rate: float) -> None:
        self.module = network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)

    def mean(self, observations: Tensor, task: Tensor) -> Tensor:
        """The middle of the actions, (n, action_dim)."""
        return torch.tanh(self.module(observations, task)[0])

    def loss(self, batch: Batch) -> Tensor:
        """Mean of −log π(a|s) times the advantage."""
        log_prob = self.predict(batch).log_prob(batch["actions"])
        return -(log_prob * batch["advantages"].squeeze(1)).mean()

    def predict(self, batch: Batch) -> Distribution:
        """The actions' distribution for each row."""
        mean = self.mean(batch["observations"], batch["task"])
        return Independent(Normal(mean, STD, validate_args=False), 1)

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        """The same rows as if they belonged to other tasks."""
        return {**batch, "task": torch.as_tensor(task).expand(len(batch["observations"]))}


@AGENTS.register("reinforce")
class Reinforce:
    """Policy gradient on whole episodes; as simple as an agent can be, and as slow to learn."""

    needs = ("continuous actions",)  # of a sequence
    offers = ()  # none of what a method may need

    def __init__(self, policy: Policy, num_tasks: int, method: ContinualMethod) -> None:
        self.components = {"policy": policy}
        self.num_tasks, self.method = num_tasks, method
        self.losses: list[float] = []

    @classmethod
    def build(
        cls,
        env: Any,
        *,
        num_tasks: int,
        method: ContinualMethod,
        seed: int,
        hidden: Sequence[int] = (64, 64),
        learning_rate: float = 1e-3,
    ) -> Reinforce:
        """What `run` calls; the options after `seed` are those of `--agent-options`."""
        if num_tasks < 2:
            raise ValueError("a sequence of at least two tasks is needed: one alone is not told")
        torch.manual_seed(seed)
        spec = NetworkSpec(
            input_dim=env.observation_space.shape[0] - num_tasks,
            hidden=tuple(hidden),
            outputs=env.action_space.shape,
            num_tasks=num_tasks,
        )
        network = method.build_network(spec)  # expansion methods make one of their own
        return cls(Policy(network, learning_rate), num_tasks, method)

    def begin_task(self, task_id: int, env: Any) -> None:
        """Turn to a task."""
        self.task_id, self.env = task_id, env
        self.method.begin_task(self, task_id)

    def learn_task(self, steps: int, progress: Progress) -> None:
        """Learn for so many environment steps, all environments together."""
        done = 0
        while done < steps:
            done += self._learn_episodes()
            progress(min(done, steps))

    def rehearse(self, updates: int) -> None:
        """Learn on, for methods that train after a task has ended."""
        for _ in range(updates):
            self._learn_episodes()

    def end_task(self) -> None:
        """Close the task, while its data is there."""
        self.method.end_task(self, self.task_id)

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        """The last episodes."""
        yield self.batch

    def act(self, observations: np.ndarray) -> np.ndarray:
        """What it is evaluated by: actions (n, action_dim) without noise."""
        inputs, task = split_task(torch.as_tensor(observations), self.num_tasks)
        with torch.no_grad():
            return self.components["policy"].mean(inputs, task).numpy()

    def diagnostics(self) -> Mapping[str, float]:
        """Means since the last call, for the log."""
        losses, self.losses = self.losses, []
        return {"policy_loss": float(np.mean(losses))} if losses else {}

    def state_dict(self) -> StateTree:
        """All that is needed to go on with the next task."""
        policy = self.components["policy"]
        return {
            "network": policy.module.state_dict(),
            "optimizer": policy.optimizer.state_dict(),
            "method": self.method.state_dict(),
        }

    def load_state_dict(self, state: StateTree) -> None:
        """Take over such a state."""
        policy = self.components["policy"]
        policy.module.load_state_dict(state["network"])
        policy.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(state["method"])

    def _learn_episodes(self) -> int:
        """An episode in each environment and a gradient step; returns the steps taken."""
        observations, rows, actions, rewards = self.env.reset(), [], [], []
        dones = np.zeros(self.env.num_envs, dtype=bool)
        while not dones.any():  # all episodes have the same length
            rows.append(torch.as_tensor(observations))
            mean = torch.as_tensor(self.act(observations))
            actions.append(torch.normal(mean, STD))
            taken = actions[-1].clamp(-1, 1).numpy()
            observations, reward, dones, _ = self.env.step(taken)
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
        to_go = torch.stack(rewards).flip(0).cumsum(0).flip(0)  # (steps, environments)
        advantages = (to_go - to_go.mean(1, keepdim=True)) / (to_go.std() + 1e-6)
        inputs, task = split_task(torch.cat(rows), self.num_tasks)  # they end with a one-hot
        self.batch = {
            "observations": inputs,
            "task": task,
            "actions": torch.cat(actions),
            "advantages": advantages.reshape(-1, 1),
        }
        measured = gradient_step(self.components["policy"], self.batch, self.method)
        self.losses.append(measured["loss"])
        return len(self.batch["actions"])
