"""How well a policy does on fixed episodes of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lifelong_rl.errors import ContractError, NonFiniteError
from lifelong_rl.learning.seeding import EVALUATION_SEED, EVALUATION_SEEDS, preserved_generators
from lifelong_rl.runs.contract import EnvContract
from lifelong_rl.runs.sequence import (
    Sequence,
    VecEnvLike,
    head_of,
    measures_of,
    name_environments,
    num_heads,
)

MOST_ENVS = 100
"""Environments of a task that are built at once; more episodes are run one after the other."""

Act = Callable[[Any], np.ndarray]
"""Observations of n environments, as these show them, to actions (n, action_dim)."""


@dataclass(frozen=True)
class Evaluation:
    """Episodes of one task.

    Attributes:
        scores: Whether each episode succeeded at any step, of bool; where the task has no success,
            the score of each, (episodes,).
        returns: Sum of rewards of each episode, (episodes,).
        num_diverged: Episodes that ended because the simulation became unstable.
    """

    scores: np.ndarray
    returns: np.ndarray
    num_diverged: int

    @property
    def score(self) -> float:
        """Fraction of episodes that succeeded, in [0, 1]; or mean score."""
        return float(self.scores.mean())

    @property
    def outcomes(self) -> str | list[float]:
        """Each episode as JSON holds it in little room: "1101" for successes, or the scores."""
        if self.scores.dtype == bool:
            return "".join("1" if success else "0" for success in self.scores)
        return [float(score) for score in self.scores]

    @property
    def mean_return(self) -> float:
        """Mean over the episodes."""
        return float(self.returns.mean())


def evaluate(
    act: Act,
    env: VecEnvLike,
    contract: EnvContract,
    *,
    num_episodes: int,
    name: str = "environment",
    agent: str = "the agent",
    task: tuple[int, int] | None = None,
    measure: str = "success",
    seed: int = EVALUATION_SEED,
) -> Evaluation:
    """Run episodes in the environments of `env`, always the same ones.

    Environment i of n runs episodes i, n + i, 2n + i and so on, each begun where the last one
    ended. The global random generators are as before afterwards, so that evaluating changes nothing
    about the training around it.

    Args:
        act: The policy.
        env: The environments.
        contract: What they show and take.
        num_episodes: Episodes in all, at least as many as there are environments.
        name: What to call the environments in an error about a number.
        agent: What to call the agent in an error.
        task: Number of their task and of all tasks, which their observations end with as a one-hot;
            None for environments that may show any.
        measure: What is measured, see `lifelong_rl.runs.sequence.Sequence`.
        seed: Decides how the episodes start.

    Raises:
        NonFiniteError: An action or a reward is NaN or infinite.
        ContractError: The environments or the policy return something else than they have to.
    """
    scores = np.zeros(num_episodes)
    returns = np.zeros(num_episodes)
    episodes = np.arange(env.num_envs)
    running = np.ones(env.num_envs, dtype=bool)
    num_diverged = 0
    with preserved_generators():
        env.seed(seed)
        observations = contract.check_reset(env.reset(), *(task or ()))
        while running.any():
            actions = act(observations)
            contract.check_actions(actions, agent)
            if not np.isfinite(actions).all():
                raise NonFiniteError("action", name, float("nan"))
            observations, rewards, dones, infos = contract.check_step(env.step(actions), running)
            for row in np.flatnonzero(running & ~np.isfinite(rewards)):
                raise NonFiniteError("reward", name, float(rewards[row]))
            returns[episodes[running]] += rewards[running]
            for row in np.flatnonzero(running & dones):
                scores[episodes[row]] = contract.read_score(infos[row], measure)
                num_diverged += bool(infos[row].get("diverged", False))
                episodes[row] += env.num_envs
                running[row] = episodes[row] < num_episodes
    if measure == "success":
        scores = scores.astype(bool)
    return Evaluation(scores, returns, num_diverged)


class Evaluator:
    """Evaluates policies on every task of a sequence, with environments built only once.

    There are as many environments of a task as episodes, up to `MOST_ENVS` or what the sequence
    allows.

    Args:
        sequence: The tasks.
        num_episodes: Episodes per task.
        num_threads: Threads that step the physics.
        agent: What to call the agent in an error.
        env_options: More arguments of the sequence's `make_env`, such as what is to be observed.
        starts: How the episodes start, one of `EVALUATION_SEEDS`.
    """

    def __init__(
        self,
        sequence: Sequence,
        *,
        num_episodes: int,
        num_threads: int,
        agent: str = "the agent",
        env_options: Mapping[str, Any] | None = None,
        starts: str = "validation",
    ) -> None:
        self._make_env: Any = partial(sequence.make_env, **(env_options or {}))
        self._sequence = sequence
        self._measures = measures_of(sequence)
        self._num_episodes = num_episodes
        self._num_envs = min(num_episodes, MOST_ENVS, getattr(sequence, "most_envs", MOST_ENVS))
        self._num_threads = min(num_threads, self._num_envs)
        self._agent = agent
        self._seed = EVALUATION_SEEDS[starts]
        self._envs: dict[int, tuple[VecEnvLike, EnvContract]] = {}

    def evaluate(self, act: Act, task_id: int) -> Evaluation:
        """Evaluate a policy on task `task_id`.

        Raises:
            NonFiniteError: See `evaluate`.
            ContractError: See `evaluate`; or the task shows something else than others do.
        """
        if task_id not in self._envs:
            with preserved_generators():
                self._envs[task_id] = self._make(task_id)
        env, contract = self._envs[task_id]
        return evaluate(
            act,
            env,
            contract,
            num_episodes=self._num_episodes,
            name=f"evaluation of {self._sequence.tasks[task_id]}",
            agent=self._agent,
            task=(head_of(self._sequence, task_id), num_heads(self._sequence)),
            measure=self._measures[task_id],
            seed=self._seed,
        )

    def _make(self, task_id: int) -> tuple[VecEnvLike, EnvContract]:
        env = self._make_env(
            task_id,
            num_envs=self._num_envs,
            num_threads=self._num_threads,
            seed=self._seed,
        )
        owner = name_environments(self._sequence, task_id)
        contract = EnvContract(env, owner, self._num_envs)
        for _, other in self._envs.values():
            if contract.spaces != other.spaces:
                raise ContractError(
                    owner, f"shows and takes {contract.spaces}, another task {other.spaces}"
                )
        return env, contract

    def evaluate_all(self, act: Act) -> list[Evaluation]:
        """Evaluate a policy on every task."""
        return [self.evaluate(act, task_id) for task_id in range(self._sequence.num_tasks)]

    def close(self) -> None:
        """Release the environments."""
        for env, _ in self._envs.values():
            env.close()
        self._envs.clear()
