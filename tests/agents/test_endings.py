"""What a learner makes of episodes that terminate, and of those that are truncated.

Only what terminates has no future: after a truncation, values of the last state go on counting.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from endings import REWARD, Endings

from lifelong_rl import agents
from lifelong_rl.agents.buffers import TaskReplayBuffer
from lifelong_rl.continual import make
from lifelong_rl.runs.contract import EnvContract
from lifelong_rl.runs.evaluation import evaluate

NUM_TASKS = 2
TRANSITIONS = [
    # (episode, step) → (episode, step), done: rows of the environments that begin with 0 and 1
    ([(0, 0), (1, 0)], [(0, 1), (1, 1)], [0, 0]),
    ([(0, 1), (1, 1)], [(0, 2), (1, 2)], [1, 0]),
    ([(1, 0), (2, 0)], [(1, 1), (2, 1)], [0, 0]),
    ([(1, 1), (2, 1)], [(1, 2), (2, 2)], [0, 1]),
    ([(2, 0), (3, 0)], [(2, 1), (3, 1)], [0, 0]),
]
"""Of five steps of two environments."""


def endings(task_id: int = 0, num_tasks: int = NUM_TASKS) -> Endings:
    task = (task_id, num_tasks) if num_tasks > 1 else None
    return Endings([{"first": 0, "task": task}, {"first": 1, "task": task}])


def build(kind: Any, method: Any = None, **options: Any) -> Any:
    defaults = {"num_tasks": NUM_TASKS, "seed": 0, "device": "cpu", "learning_starts": 10}
    if kind is agents.PPO:
        del defaults["learning_starts"]
    env = endings(num_tasks=(defaults | options)["num_tasks"])
    return kind("MlpPolicy", env, method, **(defaults | options))


def begin(agent: Any, task_id: int) -> Endings:
    env = endings(task_id, agent.num_tasks)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (the generator that SB3's buffer draws from)
    agent.begin_task(task_id, env)
    return env


def expected(column: int) -> np.ndarray:
    """One column of `TRANSITIONS`, row after row of each step."""
    return np.array([values for step in TRANSITIONS for values in step[column]], np.float32)


def off_policy(kind: Any, method: Any = None, **options: Any) -> Any:
    """An agent that has seen `TRANSITIONS`, in its second task."""
    agent = build(kind, method, policy_kwargs={"net_arch": [8]}, **options)
    begin(agent, 1)
    agent.learn(10)
    return agent


@pytest.mark.parametrize("kind", [agents.SAC, agents.TD3])
def test_termination_is_stored_as_an_end_and_truncation_is_not(kind: Any) -> None:
    agent = off_policy(kind)
    buffer = agent.replay_buffer
    assert buffer.size() == len(TRANSITIONS)
    shown = buffer.next_observations[: buffer.size(), :, :2]
    assert np.array_equal(shown.reshape(-1, 2), expected(1)), "the last state of each episode"
    (data,) = agent.task_data()
    assert data["task"].unique().tolist() == [1]
    assert np.array_equal(data["observations"], expected(0))
    assert np.array_equal(data["next_observations"], expected(1))
    assert np.array_equal(data["dones"].squeeze(1), expected(2))
    sampled = agent._sample_batch(64)
    by_state = {tuple(s): d for s, d in zip(expected(1).tolist(), expected(2), strict=True)}
    drawn = [by_state[tuple(state)] for state in sampled["next_observations"].tolist()]
    assert sampled["dones"].squeeze(1).tolist() == drawn
    assert {0, 1} == set(drawn)


def test_what_is_written_within_a_task_keeps_how_episodes_ended() -> None:
    held = off_policy(agents.SAC).experience
    again = TaskReplayBuffer(
        20, held.observation_space, held.action_space, "cpu", 2, num_tasks=NUM_TASKS
    )
    for first, end in ((0, 3), (3, 5)):
        again.write(first, held.read(first, end))
    over = again.dones * (1 - again.timeouts)
    assert np.array_equal(over[:5].reshape(-1), expected(2))
    assert again.timeouts.sum() == 2


def test_memories_hold_how_episodes_ended() -> None:
    agent = off_policy(agents.SAC, make("replay", per_task=10))
    agent.end_task()
    rows = agent.method.state_dict()["memory"]["rows"]
    assert np.array_equal(rows["next_observations"], expected(1))
    assert np.array_equal(rows["dones"].squeeze(1), expected(2))


@pytest.mark.parametrize("kind", [agents.SAC, agents.TD3])
def test_values_go_on_after_a_truncation_alone(kind: Any) -> None:
    agent = off_policy(kind, gamma=0.5)
    (data,) = agent.task_data()
    values = torch.arange(10.0)
    targets = agent.components["critic"].targets(data, values)
    # the episode of row 0 terminates at the second step, that of row 1 at the fourth
    assert (targets - REWARD).tolist() == [0, 0.5, 0, 1.5, 2, 2.5, 3, 0, 4, 4.5]


def rollout(num_tasks: int) -> agents.PPO:
    """An agent with V(episode, step) = 4 · episode + step + 2, and a rollout of `TRANSITIONS`."""
    agent = build(
        agents.PPO,
        num_tasks=num_tasks,
        n_steps=5,
        batch_size=10,
        n_epochs=1,
        gamma=0.5,
        gae_lambda=0.5,
        learning_rate=1e-30,
        policy_kwargs={"net_arch": []},
    )
    with torch.no_grad():
        heads = agent.policy.value_network.heads
        heads.weight[:] = torch.tensor([4.0, 1.0])
        heads.bias[:] = 2.0
    begin(agent, num_tasks - 1)
    agent.learn(10)
    return agent


@pytest.mark.parametrize("num_tasks", [1, NUM_TASKS])
def test_advantages_bootstrap_at_a_truncation_and_not_at_a_termination(num_tasks: int) -> None:
    """With γ = λ = ½, δ = r + γ V(s') − V(s) and A = δ + ¼ A' within an episode.

    Row 0:  V  2, 3 | 6, 7 | 10, then 11;  the last states, (0, 2) and (1, 2), would have 4 and 8.
            δ  2 + 1.5 − 2, 2 − 3 | 2 + 3.5 − 6, 2 + 4 − 7 | 2 + 5.5 − 10
    Row 1:  V  6, 7 | 10, 11 | 14, then 15;  (1, 2) has 8 and (2, 2) would have 12.
            δ  2 + 3.5 − 6, 2 + 4 − 7 | 2 + 5.5 − 10, 2 − 11 | 2 + 7.5 − 14
    """
    agent = rollout(num_tasks)
    (data,) = agent.task_data()
    advantages = data["advantages"].view(5, 2).T
    assert advantages.tolist() == [
        [1.5 - 0.25, -1, -0.5 - 0.25, -1, -2.5],
        [-0.5 - 0.25, -1, -2.5 - 2.25, -9, -4.5],
    ]
    values = torch.tensor([[2.0, 3, 6, 7, 10], [6, 7, 10, 11, 14]])
    assert torch.equal(data["returns"].view(5, 2).T, advantages + values)
    assert np.array_equal(data["observations"], expected(0))


def test_what_the_policy_visits_goes_on_after_both_endings() -> None:
    env = endings(1)
    agent = agents.BCStream(env, num_tasks=NUM_TASKS, learning_starts=4, batch_size=4, hidden=(8,))
    agent.begin_task(1, env)
    agent.learn_task(10, lambda done: None)
    (data,) = agent.task_data()
    assert np.array_equal(data["observations"], expected(0))
    assert data["task"].unique().tolist() == [1]


def test_demonstrations_end_as_they_say() -> None:
    env = endings(1)
    agent = agents.OfflineRL(env, num_tasks=NUM_TASKS, episodes=2, gamma=0.5, hidden=(8,))
    agent.begin_task(1, env)
    (data,) = agent.task_data()
    assert data["next_observations"].tolist() == [
        [0, 1], [0, 2], [1, 1], [1, 2],
        [1, 1], [1, 2], [2, 1], [2, 2],
    ]  # fmt: skip
    assert data["dones"].squeeze(1).tolist() == [0, 1, 0, 0, 0, 0, 0, 1]
    targets = agent.components["critic"].targets(data, torch.arange(8.0))
    assert (targets - REWARD).tolist() == [0, 0, 1, 1.5, 2, 2.5, 3, 0]


def test_episodes_of_different_lengths_are_evaluated_side_by_side() -> None:
    """Rows run the episodes 0 2 4 6 and 1 3 5; row 1's take three steps, the other's one."""
    env = Endings([{"first": 0, "length": 1}, {"first": 1, "length": 3}])
    shown: list[np.ndarray] = []

    def act(observations: np.ndarray) -> np.ndarray:
        shown.append(observations)
        return np.zeros((2, 1), np.float32)

    found = evaluate(act, env, EnvContract(env, "endings", 2), num_episodes=7)
    assert found.returns.tolist() == [2, 6, 2, 6, 2, 6, 2]
    assert found.scores.tolist() == [True, False, False, True, True, False, False]
    assert len(shown) == 9, "until the longest row is through"
    assert [tuple(rows[1]) for rows in shown[2:5]] == [(1, 2), (2, 0), (2, 1)]
