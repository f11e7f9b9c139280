"""Three tasks whose actions have one, two and three entries, padded to four."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv

ACTION_DIMS = (1, 2, 3)
ACTION_DIM = 4
NUM_TASKS = len(ACTION_DIMS)
OBS_DIM = 5


class Sized(gym.Env[np.ndarray, np.ndarray]):
    """Noise with the task's one-hot at the end; the reward is for acting as the noise says.

    Args:
        task_id: Which task.
    """

    observation_space = gym.spaces.Box(-10, 10, (OBS_DIM + NUM_TASKS,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACTION_DIM,), np.float32)

    def __init__(self, task_id: int) -> None:
        self.tail = np.eye(NUM_TASKS)[task_id]
        self.size = ACTION_DIMS[task_id]
        self.taken: list[np.ndarray] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.taken.append(np.array(action))
        error = (action - self.right)[: self.size]
        self.count += 1
        return self.observe(), 1 - float(np.square(error).mean()), False, self.count == 7, {}

    def observe(self) -> np.ndarray:
        self.inputs = self.np_random.standard_normal(OBS_DIM)
        return np.concatenate([self.inputs, self.tail]).astype(np.float32)

    @property
    def right(self) -> np.ndarray:
        """What to do; in the entries that do not count, something too."""
        return np.tanh(self.inputs[:ACTION_DIM]).astype(np.float32)


class SizedTasks(DummyVecEnv):
    """Environments of one task or several, and an expert that knows what to do.

    Args:
        tasks: That of each environment.
    """

    action_dims: tuple[int, ...] | None = ACTION_DIMS

    def __init__(self, tasks: Sequence[int]) -> None:
        super().__init__([lambda task=task: Sized(task) for task in tasks])
        self.tasks = tasks

    @property
    def taken(self) -> np.ndarray:
        """The actions of every step, (steps, rows, ACTION_DIM)."""
        return np.stack([env.taken for env in self.envs], axis=1)

    def demonstrations(self, episodes: int, seed: int, noise: float) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        tail = np.eye(NUM_TASKS)[np.repeat(self.tasks, 20)]
        inputs, following = rng.normal(size=(2, len(tail), OBS_DIM))
        right = np.tanh(inputs[:, :ACTION_DIM])
        taken = np.clip(right + noise * rng.normal(size=right.shape), -1, 1)
        return {
            "observations": np.hstack([inputs, tail]),
            "next_observations": np.hstack([following, tail]),
            "actions": taken,
            "expert_actions": right,
            "rewards": 1.0 - np.square(taken - right).mean(axis=1),
            "dones": (rng.random(len(tail)) < 0.2).astype(np.float32),
        }

    def expert_actions(self) -> np.ndarray:
        return np.stack([env.right for env in self.envs])


class Untold(SizedTasks):
    """The same, which tell nothing of what counts."""

    action_dims = None


def counts(tasks: Any) -> np.ndarray:
    """Whether entries count, (..., ACTION_DIM), in rows of these tasks, (...)."""
    return np.arange(ACTION_DIM) < np.array(ACTION_DIMS)[np.asarray(tasks)][..., None]
