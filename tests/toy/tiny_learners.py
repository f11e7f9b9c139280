"""Two tiny tasks, and runs of every learner and method on them.

The second task has twice the data of the first.
"""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl import continual
from lifelong_rl.continual import METHODS, ContinualMethod
from lifelong_rl.learning import StateTree
from lifelong_rl.learning.seeding import (
    generator_state,
    seed_everything,
    set_generator_state,
)
from lifelong_rl.options import options_of
from lifelong_rl.registry import AGENTS
from lifelong_rl.storage.state_tree import decode_tree, encode_tree, tensor_bytes

NUM_TASKS = 2
OBS_DIM = 4
CLASSES = 3
PER_TASK = 8
SMALL_METHOD = {
    "per_task": PER_TASK,
    "memory_size": 2 * PER_TASK,
    "samples": 16,
    "batch_size": 8,
    "retrain_share": 0.25,
    "updates": 5,
    "hidden": 8,
    "latent": 2,
}
"""Options of methods that have them."""
SMALL_OPTIONS: dict[str, dict[str, Any]] = {
    "continual-backprop": {"replacement_rate": 0.1, "maturity": 1},
    "redo": {"period": 2, "threshold": 0.7},
}
"""Options of single methods, without which they would do nothing in so few updates."""
SMALL_AGENT: dict[str, dict[str, Any]] = {
    "sac": {
        "batch_size": 16,
        "learning_starts": 20,
        "buffer_size": 1000,
        "updates_per_step": 0.4,  # of which fractions are owed
    },
    "td3": {"batch_size": 16, "learning_starts": 20, "buffer_size": 1000},
    "ppo": {"batch_size": 32, "rollout_steps": 16, "epochs": 2},
    "bc": {"batch_size": 16},
    "bc-stream": {"batch_size": 16, "learning_starts": 20, "updates_per_step": 0.4},
    "offline-rl": {"batch_size": 16},
    "classifier": {"batch_size": 16},
    "regressor": {"batch_size": 16},
    "semi-supervised": {
        "batch_size": 16,
        "objective": "mean-teacher",
        "per_row": 2,
        "loss": "anchor",
        "balance": "classes",
        "task_weights": "uncertainty",
    },
}
STEPS = {"ppo": (64, 128)}
"""Of the first task and of the second; whole rollouts."""
DEFAULT_STEPS = (40, 80)


class Point(gym.Env[np.ndarray, np.ndarray]):
    """Noise with the task's one-hot at the end; the reward is for acting as the noise says."""

    observation_space = gym.spaces.Box(-10, 10, (OBS_DIM + NUM_TASKS,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, task_id: int) -> None:
        self.tail = np.eye(NUM_TASKS)[task_id]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = 1.0 - float(np.square(action - np.tanh(self.inputs[:2])).mean())
        self.count += 1
        return self.observe(), reward, False, self.count == 7, {}

    def observe(self) -> np.ndarray:
        self.inputs = self.np_random.standard_normal(OBS_DIM)
        return np.concatenate([self.inputs, self.tail]).astype(np.float32)


class Points(DummyVecEnv):
    """Four points, and an expert that shows and says what to do."""

    def __init__(self, task_id: int) -> None:
        super().__init__([lambda: Point(task_id)] * 4)
        self.task_id = task_id

    def demonstrations(self, episodes: int, seed: int, noise: float) -> dict[str, np.ndarray]:
        rows = 60 * (1 + self.task_id)
        rng = np.random.default_rng(seed)
        tail = np.eye(NUM_TASKS)[[self.task_id] * rows]
        inputs, next_inputs = rng.normal(size=(2, rows, OBS_DIM))
        right = np.tanh(inputs[:, :2])
        taken = np.clip(right + noise * rng.normal(size=right.shape), -1, 1)
        return {
            "observations": np.hstack([inputs, tail]),
            "next_observations": np.hstack([next_inputs, tail]),
            "actions": taken,
            "expert_actions": right,
            "rewards": 1.0 - np.square(taken - right).mean(axis=1),
            "dones": np.zeros(rows),
        }

    def expert_actions(self) -> np.ndarray:
        return np.tanh([env.inputs[:2] for env in self.envs])

    def state_dict(self) -> StateTree:
        points = [env.unwrapped for env in self.envs]
        return {
            "generators": [point.np_random.bit_generator.state for point in points],
            "counts": [getattr(point, "count", None) for point in points],
            "inputs": [getattr(point, "inputs", None) for point in points],
        }

    def load_state_dict(self, state: StateTree) -> None:
        for env, generator, count, inputs in zip(self.envs, *state.values(), strict=True):
            point: Any = env.unwrapped
            point.np_random.bit_generator.state = generator
            point.count, point.inputs = count, inputs


class Labels:
    """Which of the first entries is the largest; for the second task, the smallest."""

    num_envs = 4
    observation_space = Point.observation_space
    action_space = gym.spaces.Discrete(CLASSES)

    def __init__(self, task_id: int) -> None:
        self.task_id = task_id

    def seed(self, seed: int) -> None:
        """There is nothing random."""

    def state_dict(self) -> StateTree:
        return {}

    def load_state_dict(self, state: StateTree) -> None:
        """Nothing changes."""

    def labelled_data(self) -> dict[str, np.ndarray]:
        rows = 60 * (1 + self.task_id)
        inputs = np.random.default_rng(self.task_id).normal(size=(rows, OBS_DIM))
        tail = np.eye(NUM_TASKS)[[self.task_id] * rows]
        sign = 1 - 2 * self.task_id
        labels = (sign * inputs[:, :CLASSES]).argmax(axis=1)
        return {"observations": np.hstack([inputs, tail]), "labels": labels}

    def unlabelled_data(self) -> dict[str, np.ndarray]:
        return {"observations": self.labelled_data()["observations"]}


class Numbers(Labels):
    """Two of the first entries, bent, and shifted by the task."""

    action_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def labelled_data(self) -> dict[str, np.ndarray]:
        shown = super().labelled_data()["observations"]
        labels = self.task_id + 0.1 * np.tanh(shown[:, :2])
        return {"observations": shown, "labels": labels.astype(np.float32)}


LABELLED = {"classifier": Labels, "semi-supervised": Labels, "regressor": Numbers}
"""Tasks of learners of labelled data; others learn `Points`."""


class Run:
    """A run as the sequence loop does it: random numbers depend on the task alone.

    Args:
        learner: Name of the agent.
        method: Name of the method.
        task_id: The first task to learn.
        state: Of an agent that has learned the tasks before, as saved; or None.
        device: That it learns on.
    """

    def __init__(
        self,
        learner: str,
        method: str,
        task_id: int = 0,
        state: Any = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.learner = learner
        env: Any = LABELLED.get(learner, Points)
        self.envs = [env(k) for k in range(NUM_TASKS)]
        seed_everything(0, 0)
        self.method = make(method)
        agent_class: Any = AGENTS.get(learner)
        self.agent = agent_class.build(
            self.envs[task_id],
            num_tasks=NUM_TASKS,
            method=self.method,
            seed=0,
            hidden=(8, 8),
            device=device,
            **SMALL_AGENT[learner],
        )
        if state is not None:
            self.agent.load_state_dict(decode_tree(*state))

    def begin(self, task_id: int) -> None:
        seed_everything(0, 1 + task_id)
        self.envs[task_id].seed(task_id)
        self.agent.begin_task(task_id, self.envs[task_id])

    def learn(self, task_id: int) -> None:
        self.begin(task_id)
        self.finish(task_id)

    def finish(self, task_id: int) -> None:
        """Learn on to the task's end; `halfway` is what a checkpoint within it would hold."""
        steps = STEPS.get(self.learner, DEFAULT_STEPS)[task_id]
        self.halfway: Any = None
        now = 0

        def progress(done: int) -> None:
            nonlocal now
            now = done

        def pause() -> None:
            if self.halfway is None and now >= steps // 2:
                self.halfway = self.saved_within(task_id)

        self.agent.learn_task(steps, progress, pause)
        self.agent.end_task()

    def saved_within(self, task_id: int) -> Any:
        tree = {
            "agent": self.agent.task_state(),
            "env": self.envs[task_id].state_dict(),
            "generators": generator_state(),
        }
        held = self.agent.experience
        if held is None:
            return encode_tree(tree), []
        first, end = held.span()
        middle = (first + end) // 2
        parts = [(a, held.read(a, b)) for a, b in ((first, middle), (middle, end))]
        return encode_tree(tree), copy.deepcopy(parts)

    def go_on(self, task_id: int, halfway: Any) -> None:
        """Learn a task from where another run was within it; `reloaded` is that, saved again."""
        tree = decode_tree(*halfway[0])
        self.agent.load_task_state(tree["agent"], self.envs[task_id])
        for first, steps in halfway[1]:
            self.agent.experience.write(first, steps)
        self.envs[task_id].load_state_dict(tree["env"])
        set_generator_state(tree["generators"])
        self.reloaded = self.saved_within(task_id)
        self.finish(task_id)

    def saved(self) -> tuple[bytes, Any]:
        return encode_tree(self.agent.state_dict())

    def parameters(self) -> torch.Tensor:
        return torch.cat(
            [
                parameter.detach().flatten()
                for component in self.agent.components.values()
                for parameter in component.module.parameters()
            ]
        )

    def memory_bytes(self) -> int:
        return tensor_bytes(self.method.state_dict())


def make(name: str) -> ContinualMethod:
    known = options_of(METHODS.get(name))
    options = {option: value for option, value in SMALL_METHOD.items() if option in known}
    return continual.make(name, **options | SMALL_OPTIONS.get(name, {}))
