"""Every continual method with every learner: what all pairs promise, or how they refuse.

Two tiny tasks; the second has twice the data of the first. A method that is added to `METHODS` is
tested here without another line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl import continual
from lifelong_rl.compatibility import find_refusal
from lifelong_rl.continual import METHODS, ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning.seeding import seed_everything
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
SMALL_AGENT: dict[str, dict[str, Any]] = {
    "sac": {"batch_size": 16, "learning_starts": 20, "buffer_size": 1000},
    "td3": {"batch_size": 16, "learning_starts": 20, "buffer_size": 1000},
    "ppo": {"batch_size": 32, "rollout_steps": 16, "epochs": 2},
    "bc": {"batch_size": 16},
    "bc-stream": {"batch_size": 16, "learning_starts": 20},
    "offline-rl": {"batch_size": 16},
    "classifier": {"batch_size": 16},
}
STEPS = {"ppo": (64, 128)}
"""Of the first task and of the second; whole rollouts."""
DEFAULT_STEPS = (40, 80)
KEEPS_ALL = {"perfect-memory"}
"""Methods whose memory has no bound, which is their point."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """More threads only get into each other's way on matrices this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


class Labels:
    """Which of the first entries is the largest; for the second task, the smallest."""

    num_envs = 4
    observation_space = Point.observation_space
    action_space = gym.spaces.Discrete(CLASSES)

    def __init__(self, task_id: int) -> None:
        self.task_id = task_id

    def seed(self, seed: int) -> None:
        """There is nothing random."""

    def labelled_data(self) -> dict[str, np.ndarray]:
        rows = 60 * (1 + self.task_id)
        inputs = np.random.default_rng(self.task_id).normal(size=(rows, OBS_DIM))
        tail = np.eye(NUM_TASKS)[[self.task_id] * rows]
        sign = 1 - 2 * self.task_id
        labels = (sign * inputs[:, :CLASSES]).argmax(axis=1)
        return {"observations": np.hstack([inputs, tail]), "labels": labels}


class Run:
    """A run as the sequence loop does it: random numbers depend on the task alone.

    Args:
        learner: Name of the agent.
        method: Name of the method.
        task_id: The first task to learn.
        state: Of an agent that has learned the tasks before, as saved; or None.
    """

    def __init__(self, learner: str, method: str, task_id: int = 0, state: Any = None) -> None:
        self.learner = learner
        self.envs = [Labels(k) if learner == "classifier" else Points(k) for k in range(NUM_TASKS)]
        seed_everything(0, 0)
        self.method = make(method)
        agent_class: Any = AGENTS.get(learner)
        self.agent = agent_class.build(
            self.envs[task_id],
            num_tasks=NUM_TASKS,
            method=self.method,
            seed=0,
            hidden=(8, 8),
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
        steps = STEPS.get(self.learner, DEFAULT_STEPS)[task_id]
        self.agent.learn_task(steps, lambda done: None)
        self.agent.end_task()

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
    return continual.make(name, **options)


def memory_sizes(state: Any) -> Iterator[int]:
    """Rows of each task in every episodic memory of a method's state."""
    if isinstance(state, Mapping):
        for name, value in state.items():
            if name == "sizes":
                yield from value.tolist()
            else:
                yield from memory_sizes(value)


@pytest.mark.parametrize("learner", SMALL_AGENT)
@pytest.mark.parametrize("method", METHODS.names())
def test_contract(method: str, learner: str) -> None:
    # it runs, or is refused before the first step, as both declare
    refusal = find_refusal(METHODS, method, AGENTS, learner)
    if refusal is not None:
        assert f"'{method}'" in refusal and f"'{learner}'" in refusal and "\n" not in refusal
        with pytest.raises(UserError):
            Run(learner, method).begin(0)
        return
    through = Run(learner, method)
    fresh = through.parameters()
    through.begin(0)
    through.finish(0)
    after_first, first_bytes = through.saved(), through.memory_bytes()
    learned = through.parameters()
    assert learned.isfinite().all()
    assert not torch.equal(learned, fresh)
    through.learn(1)
    assert through.parameters().isfinite().all()
    assert not torch.equal(through.parameters(), learned)
    measured = through.agent.diagnostics()
    assert measured and all(np.isfinite(value) for value in measured.values())
    observations = np.eye(OBS_DIM + NUM_TASKS, dtype=np.float32)[-NUM_TASKS:]
    actions = through.agent.act(observations)
    assert len(actions) == NUM_TASKS and np.isfinite(actions).all()

    # the same again is the same to the last bit
    again = Run(learner, method)
    again.learn(0)
    assert again.saved() == after_first

    # saved and loaded between the tasks, it goes on as if nothing had been
    resumed = Run(learner, method, task_id=1, state=after_first)
    assert resumed.saved() == after_first
    resumed.learn(1)
    assert resumed.saved() == through.saved()
    assert np.array_equal(resumed.agent.act(observations), actions)

    # what it keeps depends on the number of tasks, not on how much data they had
    bound = 2 * first_bytes + through.parameters().nbytes
    if method in KEEPS_ALL:
        assert through.memory_bytes() == pytest.approx(3 * first_bytes, rel=0.05)
        return
    assert through.memory_bytes() <= bound
    assert set(memory_sizes(through.method.state_dict())) <= {PER_TASK}


def test_the_learners_are_all_there() -> None:
    ours = {name for name in AGENTS if AGENTS.get(name).__module__.startswith("lifelong_rl.")}
    assert ours == set(SMALL_AGENT)


def test_without_a_bound_the_memory_would_not_pass() -> None:
    """The bound above tells a method that keeps all from one that keeps a sample."""
    run = Run("sac", "perfect-memory")
    run.learn(0)
    first = run.memory_bytes()
    run.learn(1)
    assert run.memory_bytes() > 2 * first + run.parameters().nbytes
