"""How well a policy does on fixed episodes of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lifelong_rl.errors import NonFiniteError
from lifelong_rl.learning.seeding import EVALUATION_SEED, preserved_generators
from lifelong_rl.runs.sequence import Sequence, VecEnvLike

Act = Callable[[Any], np.ndarray]
"""Observations of n environments, as these show them, to actions (n, action_dim)."""


@dataclass(frozen=True)
class Evaluation:
    """Episodes of one task.

    Attributes:
        successes: Whether each episode succeeded at any step, (episodes,) of bool.
        returns: Sum of rewards of each episode, (episodes,).
        num_diverged: Episodes that ended because the simulation became unstable.
    """

    successes: np.ndarray
    returns: np.ndarray
    num_diverged: int

    @property
    def success(self) -> float:
        """Fraction of episodes that succeeded, in [0, 1]."""
        return float(self.successes.mean())

    @property
    def mean_return(self) -> float:
        """Mean over the episodes."""
        return float(self.returns.mean())


def evaluate(act: Act, env: VecEnvLike, name: str = "environment") -> Evaluation:
    """Run one episode in each environment of `env`, always the same ones.

    The global random generators are as before afterwards, so that evaluating changes nothing
    about the training around it.

    Args:
        act: The policy.
        env: The environments.
        name: What to call them in an error.

    Raises:
        NonFiniteError: An action or a reward is NaN or infinite.
    """
    successes = np.zeros(env.num_envs, dtype=bool)
    returns = np.zeros(env.num_envs)
    running = np.ones(env.num_envs, dtype=bool)
    num_diverged = 0
    with preserved_generators():
        env.seed(EVALUATION_SEED)
        observations = env.reset()
        while running.any():
            actions = act(observations)
            if not np.isfinite(actions).all():
                raise NonFiniteError("action", name, float("nan"))
            observations, rewards, dones, infos = env.step(actions)
            for row in np.flatnonzero(running & ~np.isfinite(rewards)):
                raise NonFiniteError("reward", name, float(rewards[row]))
            returns[running] += rewards[running]
            for row in np.flatnonzero(running & dones):
                successes[row] = infos[row]["episode"]["success"]
                num_diverged += bool(infos[row].get("diverged", False))
                running[row] = False
    return Evaluation(successes, returns, num_diverged)


class Evaluator:
    """Evaluates policies on every task of a sequence, with environments built only once.

    Args:
        sequence: The tasks.
        num_episodes: Episodes per task.
        num_threads: Threads that step the physics.
        env_options: More arguments of the sequence's `make_env`, such as what is to be observed.
    """

    def __init__(
        self,
        sequence: Sequence,
        *,
        num_episodes: int,
        num_threads: int,
        env_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._make_env: Any = partial(sequence.make_env, **(env_options or {}))
        self._sequence = sequence
        self._num_episodes = num_episodes
        self._num_threads = min(num_threads, num_episodes)
        self._envs: dict[int, VecEnvLike] = {}

    def evaluate(self, act: Act, task_id: int) -> Evaluation:
        """Evaluate a policy on task `task_id`."""
        if task_id not in self._envs:
            with preserved_generators():
                self._envs[task_id] = self._make_env(
                    task_id,
                    num_envs=self._num_episodes,
                    num_threads=self._num_threads,
                    seed=EVALUATION_SEED,
                )
        task = self._sequence.tasks[task_id]
        return evaluate(act, self._envs[task_id], f"evaluation of {task}")

    def evaluate_all(self, act: Act) -> list[Evaluation]:
        """Evaluate a policy on every task."""
        return [self.evaluate(act, task_id) for task_id in range(self._sequence.num_tasks)]

    def close(self) -> None:
        """Release the environments."""
        for env in self._envs.values():
            env.close()
        self._envs.clear()
