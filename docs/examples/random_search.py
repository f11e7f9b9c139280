"""An agent without networks from outside: random search over linear policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import StateTree
from lifelong_rl.learning.protocols import Progress
from lifelong_rl.registry import AGENTS


@AGENTS.register("random-search")
class RandomSearch:
    """Keep the best of some random changes of a linear policy, an episode after the other.

    There is no gradient step for a method to react to, so it goes with finetune alone.
    """

    needs = ("continuous actions",)  # of a sequence
    offers = ()  # nothing that a method may need
    components: ClassVar[dict[str, Any]] = {}  # no networks

    def __init__(self, weights: np.ndarray, std: float, seed: int) -> None:
        self.weights, self.std = weights, std  # (action_dim, obs_dim)
        self.generator = np.random.default_rng(seed)
        self.returns: list[float] = []

    @classmethod
    def build(
        cls, env: Any, *, num_tasks: int, method: ContinualMethod, seed: int, std: float = 0.1
    ) -> RandomSearch:
        """What `run` calls; the options after `seed` are those of `--agent-options`."""
        shape = (*env.action_space.shape, *env.observation_space.shape)
        return cls(np.zeros(shape), std, seed)

    def begin_task(self, task_id: int, env: Any) -> None:
        """Turn to a task; its one-hot at the end of observations has weights of its own."""
        self.env = env

    def learn_task(self, steps: int, progress: Progress) -> None:
        """Learn for so many environment steps, all environments together."""
        done = 0
        while done < steps:
            done += self._try()
            progress(min(done, steps))

    def end_task(self) -> None:
        """There is nothing to close."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """What it is evaluated by: actions (n, action_dim)."""
        return np.clip(observations @ self.weights.T, -1, 1)

    def diagnostics(self) -> Mapping[str, float]:
        """Means since the last call, for the log."""
        returns, self.returns = self.returns, []
        return {"return": float(np.mean(returns))} if returns else {}

    def state_dict(self) -> StateTree:
        """All that is needed to go on with the next task, with its own random numbers."""
        words = self.generator.bit_generator.state["state"]
        return {"weights": self.weights, **{name: str(word) for name, word in words.items()}}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over such a state."""
        self.weights = np.asarray(state["weights"])
        generator = self.generator.bit_generator
        words = {name: int(state[name]) for name in ("state", "inc")}
        generator.state = {**generator.state, "state": words}

    def _try(self) -> int:
        """An episode of each of some changes, one an environment; returns the steps taken."""
        changes = self.std * self.generator.normal(size=(self.env.num_envs, *self.weights.shape))
        changes[0] = 0.0  # what it has is tried again
        observations, steps = self.env.reset(), 0
        returns = np.zeros(self.env.num_envs)
        running = np.ones(self.env.num_envs, dtype=bool)
        while running.any():
            actions = np.einsum("nao,no->na", self.weights + changes, observations)
            observations, rewards, dones, _ = self.env.step(np.clip(actions, -1, 1))
            returns += running * rewards
            running &= ~dones
            steps += self.env.num_envs
        best = int(returns.argmax())
        self.weights = self.weights + changes[best]
        self.returns.append(float(returns[best]))
        return steps
