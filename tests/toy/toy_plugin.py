# ruff: noqa: NPY002 (the global generators are what is tested)
"""A plug-in with everything small: instant environments, a sequence of three tasks, an agent.

In task k the right action is TARGETS[k]; the agent imitates it with a network that does not see
the task, so that learning a task makes it forget those before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Agent, Batch, Role, StateTree, gradient_step
from lifelong_rl.learning.protocols import Pause, Progress, no_pause
from lifelong_rl.registry import AGENTS, SEQUENCES
from lifelong_rl.runs.sequence import VecEnvLike

TARGETS = np.array([[0.8, -0.8], [-0.8, 0.8], [0.8, 0.7]], dtype=np.float32)
HORIZON = 5

on_step: Callable[[int, int], None] = lambda task_id, step: None  # noqa: E731
"""Called by the agent after each step; faults are put in here."""


class ToyEnv:
    """Observations: two random numbers, drawn at each reset and step, and the task one-hot."""

    def __init__(self, task_id: int, num_envs: int, seed: int) -> None:
        self.task_id, self.num_envs, self.num_diverged = task_id, num_envs, 0
        size = 2 + len(TARGETS)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.closed = False
        self.seed(seed)
        self._begin()
        self._observations = np.zeros((num_envs, size), np.float32)

    def seed(self, seed: int | None = None) -> None:
        self._generators = [np.random.default_rng([seed or 0, row]) for row in range(self.num_envs)]

    def reset(self) -> np.ndarray:
        self._begin()
        return self._observe()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Any]]:
        distance = np.linalg.norm(actions - self._target(), axis=1)
        success, rewards = distance < 0.25, np.exp(-distance)
        self._length += 1
        self._return += rewards
        self._success |= success
        dones = self._length == HORIZON
        infos: list[dict[str, Any]] = [{"success": bool(s)} for s in success]
        for row in np.flatnonzero(dones):
            infos[row]["episode"] = {
                "r": self._return[row],
                "l": HORIZON,
                "success": bool(self._success[row]),
            }
            self._length[row], self._return[row], self._success[row] = 0, 0.0, False
        return self._observe(), rewards, dones, infos

    def close(self) -> None:
        self.closed = True

    def state_dict(self) -> StateTree:
        return {
            "generators": [each.bit_generator.state for each in self._generators],
            "length": self._length.copy(),
            "return": self._return.copy(),
            "success": self._success.copy(),
            "observations": self._observations,
        }

    def load_state_dict(self, state: StateTree) -> None:
        for generator, saved in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = saved
        self._length, self._return = state["length"], state["return"]
        self._success, self._observations = state["success"], state["observations"]

    def _begin(self) -> None:
        self._length = np.zeros(self.num_envs, dtype=int)
        self._return = np.zeros(self.num_envs)
        self._success = np.zeros(self.num_envs, dtype=bool)

    def _observe(self) -> np.ndarray:
        noise = np.array([generator.normal(size=2) for generator in self._generators])
        one_hot = np.eye(len(TARGETS))[[self.task_id] * self.num_envs]
        self._observations = np.hstack([noise, one_hot]).astype(np.float32)
        return self._observations

    def _target(self) -> np.ndarray:
        return TARGETS[self.task_id] + 0.1 * self._observations[:, :2]


class ToySequence:
    """Three tasks that take no time."""

    name = "toy3"
    description = "three tasks that take no time"
    tasks = ("left", "right", "up")
    num_tasks = 3

    def make_env(self, task_id: int, *, num_envs: int, num_threads: int, seed: int) -> VecEnvLike:
        return ToyEnv(task_id, num_envs, seed)

    def versions(self) -> dict[str, str]:
        return dict.fromkeys(self.tasks, "v0")


SEQUENCES.register("toy3")(ToySequence)


class ToyPolicy:
    name = "policy"
    role: Role = "policy"
    inputs = ("observations",)
    replayable = True

    def __init__(self, hidden: int, lr: float) -> None:
        self.module = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 2))
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=lr)

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        return batch  # it does not see the task

    def loss(self, batch: Batch) -> Tensor:
        return ((self.module(batch["observations"][:, :2]) - batch["targets"]) ** 2).mean()

    def predict(self, batch: Batch) -> Distribution:
        return Independent(Normal(self.module(batch["observations"][:, :2]), 1.0), 1)


@AGENTS.register("toy")
class ToyAgent:
    """Imitates the target with noise drawn from every global generator."""

    def __init__(self, num_tasks: int, method: ContinualMethod, hidden: int, lr: float) -> None:
        self.num_tasks, self.method = num_tasks, method
        self.policy = ToyPolicy(hidden, lr)
        self.components = {"policy": self.policy}
        self.losses: list[float] = []

    @classmethod
    def build(
        cls,
        env: VecEnvLike,
        *,
        num_tasks: int,
        method: ContinualMethod,
        seed: int,
        hidden: int = 8,
        lr: float = 0.02,
    ) -> Agent:
        if lr <= 0:
            raise ValueError(f"lr must be positive, not {lr}")
        return cls(num_tasks, method, hidden, lr)

    def begin_task(self, task_id: int, env: VecEnvLike) -> None:
        self.task_id, self.env = task_id, env
        self.seen: list[Batch] = []
        self.method.begin_task(self, task_id)

    def learn_task(self, steps: int, progress: Progress) -> None:
        self.learn_on(self.env.reset(), 0, steps, progress, lambda: None)

    def learn_on(
        self, observations: np.ndarray, done: int, steps: int, progress: Progress, pause: Pause
    ) -> None:
        while done < steps:
            self.here = observations, done
            pause()
            targets = self.env._target() + 0.05 * np.random.normal(size=(self.env.num_envs, 2))
            batch = {
                "observations": torch.as_tensor(observations),
                "targets": torch.as_tensor(targets, dtype=torch.float32),
            }
            self.seen.append(batch)
            noisy = {**batch, "targets": batch["targets"] + 0.05 * torch.randn(len(targets), 2)}
            self.losses.append(gradient_step(self.policy, noisy, self.method)["loss"])
            observations, _, _, _ = self.env.step(targets)
            done += self.env.num_envs
            sys.modules[__name__].on_step(self.task_id, done)
            progress(done)

    def end_task(self) -> None:
        self.method.end_task(self, self.task_id)

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        if self.seen:
            yield {k: torch.cat([batch[k] for batch in self.seen]) for k in self.seen[0]}

    def act(self, observations: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.policy.module(torch.as_tensor(observations[:, :2])).numpy()

    def diagnostics(self) -> Mapping[str, float]:
        losses, self.losses = self.losses, []
        return {"policy_loss": float(np.mean(losses))} if losses else {}

    def state_dict(self) -> StateTree:
        return {
            "network": self.policy.module.state_dict(),
            "optimizer": self.policy.optimizer.state_dict(),
            "method": self.method.state_dict(),
        }

    def load_state_dict(self, state: StateTree) -> None:
        self.policy.module.load_state_dict(state["network"])
        self.policy.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(state["method"])


@AGENTS.register("toy-resumable")
class ResumableToy(ToyAgent):
    """A toy that can be saved within a task."""

    goes_on = False

    def begin_task(self, task_id: int, env: VecEnvLike) -> None:
        super().begin_task(task_id, env)
        self.goes_on = False

    def learn_task(self, steps: int, progress: Progress, pause: Pause = no_pause) -> None:
        observations, done = self.here if self.goes_on else (self.env.reset(), 0)
        self.goes_on = False
        self.learn_on(observations, done, steps, progress, pause)

    @property
    def experience(self) -> ToyExperience:
        return ToyExperience(self)

    def task_state(self) -> StateTree | None:
        of_method = self.method.task_state()
        if of_method is None:
            return None
        observations, done = getattr(self, "here", (None, 0))
        return {
            **self.state_dict(),
            "task_id": getattr(self, "task_id", 0),
            "done": done,
            "observations": observations,
            "losses": self.losses,
            "of_method": of_method,
        }

    def load_task_state(self, state: StateTree, env: VecEnvLike) -> None:
        self.load_state_dict(state)
        self.method.load_task_state(state["of_method"])
        self.task_id, self.env, self.losses = state["task_id"], env, list(state["losses"])
        self.here, self.seen, self.goes_on = (state["observations"], state["done"]), [], True


class ToyExperience:
    """The batches that a toy has seen."""

    def __init__(self, agent: ToyAgent) -> None:
        self.agent = agent

    def span(self) -> tuple[int, int]:
        return 0, len(self.agent.seen)

    def read(self, first: int, end: int) -> dict[str, np.ndarray]:
        batches = self.agent.seen[first:end]
        return {key: np.stack([batch[key].numpy() for batch in batches]) for key in batches[0]}

    def write(self, first: int, steps: Mapping[str, np.ndarray]) -> None:
        assert first == len(self.agent.seen)
        for each in zip(*steps.values(), strict=True):
            batch = dict(zip(steps, map(torch.from_numpy, each), strict=True))
            self.agent.seen.append(batch)
