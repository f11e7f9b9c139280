"""Environments whose episodes end in both ways, with numbers that can be worked out by hand.

An observation is the episode's number and how many steps of it are done, then the task one-hot
where there are several. Every episode has two steps, each with a reward of 2. Episodes of an even
number terminate; those of an odd one are truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

LENGTH = 2
REWARD = 2.0
OBS_DIM = 2


class Ending(gym.Env[np.ndarray, np.ndarray]):
    """One of them.

    Args:
        first: Number of the first episode.
        length: Steps of an episode.
        task: Position of the one in the one-hot, and its length; None for no one-hot.
        action_dim: Entries of an action.
    """

    def __init__(
        self,
        first: int = 0,
        length: int = LENGTH,
        task: tuple[int, int] | None = None,
        action_dim: int = 1,
    ) -> None:
        self.first, self.length = first, length
        index, num_tasks = task or (0, 0)
        self.tail = np.arange(num_tasks) == index
        self.observation_space = gym.spaces.Box(-100, 100, (OBS_DIM + num_tasks,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (action_dim,), np.float32)
        self.episode: int | None = None
        self.count = 0
        self.taken: list[np.ndarray] = []

    def observe(self) -> np.ndarray:
        return np.array([self.episode, self.count, *self.tail], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        starts = seed is not None or self.episode is None
        self.episode = self.first if starts else self.episode + 1
        self.count = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        assert self.episode is not None
        self.taken.append(np.array(action))
        self.count += 1
        ends = self.count == self.length
        terminates = self.episode % 2 == 0
        info = {}
        if ends:
            total = REWARD * self.count
            info["episode"] = {"r": total, "l": self.count, "success": terminates}
        return self.observe(), REWARD, ends and terminates, ends and not terminates, info


class Endings(DummyVecEnv):
    """Several of them, and an expert that always says 0.5.

    Args:
        rows: Arguments of each.
        action_dims: What they tell of their actions.
    """

    def __init__(
        self, rows: Sequence[dict[str, Any]], action_dims: tuple[int, ...] | None = None
    ) -> None:
        super().__init__([lambda row=row: Ending(**row) for row in rows])
        self.action_dims = action_dims

    @property
    def taken(self) -> np.ndarray:
        """The actions of every step, (steps, rows, action_dim)."""
        return np.stack([env.taken for env in self.envs], axis=1)

    def expert_actions(self) -> np.ndarray:
        return np.full((self.num_envs, *self.action_space.shape), 0.5, np.float32)

    def demonstrations(self, episodes: int, seed: int, noise: float) -> dict[str, np.ndarray]:
        """One row after the other shows so many episodes."""
        shown: dict[str, list[Any]] = {
            name: [] for name in ("observations", "next_observations", "rewards", "dones")
        }
        for row in self.envs:
            other = Ending(row.first, row.length, None, row.action_space.shape[0])
            other.tail, other.observation_space = row.tail, row.observation_space
            for _ in range(episodes):
                observation, over = other.reset()[0], False
                while not over:
                    following, reward, terminated, truncated, _ = other.step(np.zeros(0))
                    for name, value in zip(
                        shown, (observation, following, reward, terminated), strict=True
                    ):
                        shown[name].append(value)
                    observation, over = following, terminated or truncated
        arrays = {name: np.array(values, np.float32) for name, values in shown.items()}
        actions = np.full((len(arrays["rewards"]), *self.action_space.shape), 0.5, np.float32)
        return {**arrays, "actions": actions, "expert_actions": actions.copy()}
