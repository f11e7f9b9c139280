"""DAgger: the expert's actions in states that the policy itself visits."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from lifelong_rl import agents
from lifelong_rl.errors import UserError
from lifelong_rl.runs.sequence import load_sequence

NUM_TASKS = 2
NUM_ENVS = 3
HORIZON = 7


class Walk:
    """Points that move by their actions; the expert brings them back to the middle.

    Actions lie in [-2, 2]. What is done and seen is kept.
    """

    observation_space = gym.spaces.Box(-100, 100, (2 + NUM_TASKS,), np.float32)
    action_space = gym.spaces.Box(-2, 2, (2,), np.float32)
    num_envs = NUM_ENVS

    def __init__(self, task_id: int = 0) -> None:
        self.tail = np.eye(NUM_TASKS)[[task_id] * NUM_ENVS]
        self.rng = np.random.default_rng(task_id)
        self.seen: list[np.ndarray] = []
        self.taken: list[np.ndarray] = []

    def observe(self) -> np.ndarray:
        rows = np.hstack([self.place, self.tail]).astype(np.float32)
        self.seen.append(rows)
        return rows

    def reset(self) -> np.ndarray:
        self.elapsed = 0
        self.place = self.rng.normal(size=(NUM_ENVS, 2))
        return self.observe()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        self.taken.append(actions)
        self.elapsed += 1
        self.place = self.place + actions
        over = self.elapsed == HORIZON
        rows = self.reset() if over else self.observe()
        return rows, np.zeros(NUM_ENVS), np.full(NUM_ENVS, over), [{}] * NUM_ENVS

    def expert_actions(self) -> np.ndarray:
        return np.clip(-self.place, -2, 2).astype(np.float32)


def build(**options: Any) -> agents.BCStream:
    defaults: dict[str, Any] = {"hidden": (16,), "batch_size": 16, "learning_starts": 6, "seed": 0}
    return agents.BCStream.build(Walk(), num_tasks=NUM_TASKS, method=None, **(defaults | options))


def learn(agent: agents.BCStream, task_id: int = 0, steps: int = 60) -> tuple[Walk, list[int]]:
    torch.manual_seed(task_id)
    env, seen = Walk(task_id), []
    agent.begin_task(task_id, env)
    agent.learn_task(steps, seen.append)
    return env, seen


def rows(agent: agents.BCStream) -> dict[str, np.ndarray]:
    batches = list(agent.task_data(10))
    return {name: torch.cat([batch[name] for batch in batches]).numpy() for name in batches[0]}


def test_the_data_are_the_states_visited_and_what_the_expert_says_there() -> None:
    agent = build()
    env, _ = learn(agent)
    data = rows(agent)
    visited = np.concatenate(env.seen[: len(env.taken)])
    np.testing.assert_array_equal(data["observations"], visited[:, :-NUM_TASKS])
    np.testing.assert_allclose(data["actions"], np.clip(-visited[:, :2], -2, 2) / 2, atol=1e-6)
    assert len(visited) == 60


def test_the_expert_drives_first_and_then_the_policy() -> None:
    agent = build(learning_rate=1e-12)  # the policy stays as it is built
    env, _ = learn(agent)
    for step, actions in enumerate(env.taken):
        said = np.clip(-env.seen[step][:, :2], -2, 2)
        expected = said if step < 2 else agent.act(env.seen[step])
        np.testing.assert_allclose(actions, expected, atol=1e-6)
        assert not np.allclose(said, agent.act(env.seen[step]), atol=0.01)


def test_it_learns_what_the_expert_does_where_it_goes_itself() -> None:
    agent = build(hidden=(64,), batch_size=64, learning_rate=3e-3, updates_per_step=0.5)
    env, _ = learn(agent, steps=1500)
    late = np.concatenate(env.seen[-40:])
    assert np.abs(agent.act(late) - np.clip(-late[:, :2], -2, 2)).max() < 0.3
    assert np.abs(late[:, :2]).mean() < 0.4  # of points that begin about 0.8 away


def test_updates_follow_the_steps_after_those_of_the_expert() -> None:
    agent = build(updates_per_step=0.5, learning_starts=6)
    _, seen = learn(agent, steps=60)
    assert agent._n_updates == int(0.5 * (60 - 6))
    assert seen == list(range(3, 61, 3))
    agent = build(updates_per_step=0.1, learning_starts=0)
    _, seen = learn(agent, steps=61)
    assert agent._n_updates == 6  # of 63 steps: fractions are owed
    assert seen[-1] == 63
    agent.rehearse(5)
    assert agent._n_updates == 11


def test_each_task_begins_without_data_and_the_state_holds_none() -> None:
    agent = build()
    learn(agent, 0)
    agent.end_task()
    sizes = {len(tensor) for tensor in agent.state_dict()["policy"].values()}
    assert 60 not in sizes
    agent.begin_task(1, Walk(1))
    assert list(agent.task_data()) == []
    learn(agent, 1, steps=30)
    assert rows(agent)["task"].tolist() == [1] * 30


def test_steps_of_the_expert_only_are_refused() -> None:
    agent = build(learning_starts=30)
    with pytest.raises(UserError, match=r"30 steps per task are not more than the 30 of the exp"):
        learn(agent, steps=30)


def test_tasks_without_an_expert_are_refused() -> None:
    env = load_sequence("split-digits").make_env(0, num_envs=2, num_threads=1, seed=0)
    with pytest.raises(UserError, match=r"^BCStream learns from experts .*agent 'classifier'"):
        agents.BCStream.build(env, num_tasks=5, method=None, seed=0)


def test_a_teacher_is_asked_in_place_of_the_expert() -> None:
    """With what environments show, where that is the state; and it drives first."""

    class Away:
        def act(self, observations: np.ndarray) -> np.ndarray:
            return np.clip(observations[:, :2], -2, 2)

    agent = build(expert=Away())
    env, _ = learn(agent)
    visited = np.concatenate(env.seen[: len(env.taken)])[:, :2]
    np.testing.assert_allclose(rows(agent)["actions"], np.clip(visited, -2, 2) / 2, atol=1e-6)
    np.testing.assert_allclose(env.taken[0], np.clip(env.seen[0][:, :2], -2, 2))


def test_a_folder_is_no_teacher_in_python() -> None:
    with pytest.raises(UserError, match=r"opened by `lifelong-rl run`; in Python give the agent"):
        build(teacher="runs/sac")


@pytest.mark.parametrize(
    ("option", "value"), [("learning_starts", -1), ("hidden", ()), ("updates_per_step", 0.0)]
)
def test_numbers_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"'{option}' of .* must be .*, not"):
        build(**{option: value})
