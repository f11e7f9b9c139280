"""Behaviour cloning: SAC's policy, learned from an expert."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from lifelong_rl import agents
from lifelong_rl.continual import ContinualMethod, make
from lifelong_rl.errors import UserError
from lifelong_rl.learning import split_task
from lifelong_rl.learning.seeding import derive_seed
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.sequence import load_sequence

NUM_TASKS = 3
OBS_DIM = 4
EXPERT = np.random.default_rng(0).normal(size=(NUM_TASKS, OBS_DIM, 2)) / 2


class Shown:
    """The spaces of an environment and the demonstrations of a linear expert that saturates."""

    observation_space = gym.spaces.Box(-10, 10, (OBS_DIM + NUM_TASKS,), np.float32)
    action_space = gym.spaces.Box(-2, 2, (2,), np.float32)
    num_envs = 4

    def __init__(self, task_id: int) -> None:
        self.task_id = task_id
        self.asked: list[tuple[int, int, float]] = []

    def demonstrations(self, episodes: int, seed: int, noise: float) -> dict[str, np.ndarray]:
        self.asked.append((episodes, seed, noise))
        inputs = np.random.default_rng(seed).normal(size=(20 * episodes, OBS_DIM))
        tail = np.eye(NUM_TASKS)[[self.task_id] * len(inputs)]
        return {
            "observations": np.hstack([inputs, tail]).astype(np.float32),
            "expert_actions": np.clip(2 * inputs @ EXPERT[self.task_id], -2, 2).astype(np.float32),
        }


def build(method: ContinualMethod | None = None, **options: Any) -> agents.BC:
    defaults: dict[str, Any] = {"hidden": (16, 16), "batch_size": 32, "episodes": 5, "seed": 0}
    return agents.BC.build(Shown(0), num_tasks=NUM_TASKS, method=method, **(defaults | options))


def learn(agent: agents.BC, task_id: int, steps: int = 40) -> list[int]:
    torch.manual_seed(task_id)
    seen: list[int] = []
    agent.begin_task(task_id, Shown(task_id))
    agent.learn_task(steps, seen.append)
    agent.end_task()
    return seen


@pytest.mark.parametrize("method", [None, "finetune", "progressive"])
@pytest.mark.parametrize("seed", [0, 5])
def test_network_and_optimizer_are_those_of_sacs_actor(method: str | None, seed: int) -> None:
    sequence = load_sequence("arm3")
    env = sequence.make_env(0, num_envs=2, num_threads=1, seed=0)
    twins = [
        learner.build(
            env, num_tasks=3, method=None if method is None else make(method), seed=seed
        ).components[name]
        for learner, name in ((agents.SAC, "actor"), (agents.BC, "policy"))
    ]
    theirs, ours = (dict(twin.module.named_parameters()) for twin in twins)
    assert list(ours) == list(theirs)
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    assert twins[0].optimizer.defaults == twins[1].optimizer.defaults
    assert type(twins[0].optimizer) is type(twins[1].optimizer)
    rows, task = split_task(torch.as_tensor(env.reset()), 3)
    assert torch.equal(twins[0].module(rows, True, task), twins[1].module(rows, True, task))


def test_the_loss_is_the_squared_error_of_the_squashed_mean() -> None:
    agent = build()
    with torch.no_grad():
        for parameter in agent.policy.network.heads.parameters():
            parameter.zero_()
        bias = agent.policy.network.heads.bias.view(NUM_TASKS, 4)
        bias[1, :2] = torch.tensor([0.5, -1.0])
        bias[1, 2:] = 7.0  # log standard deviations are no part of it
    actions = torch.tensor([[1.0, 0.0], [-1.0, -1.0]])
    task = torch.ones(2, dtype=torch.int64)
    batch = {"observations": torch.zeros(2, OBS_DIM), "task": task, "actions": actions}
    a, b = np.tanh(0.5), np.tanh(-1.0)
    expected = ((a - 1) ** 2 + b**2 + (a + 1) ** 2 + (b + 1) ** 2) / 4
    component = agent.components["policy"]
    assert component.loss(batch).item() == pytest.approx(expected, rel=1e-6)
    prediction = component.predict(batch)
    assert prediction.batch_shape == (2,)
    torch.testing.assert_close(prediction.mean, torch.tensor([[0.5, -1.0]] * 2))
    assert torch.equal(prediction.stddev, torch.ones(2, 2))


def test_only_the_means_of_the_learned_task_move() -> None:
    agent = build()
    learn(agent, 0)
    before = agent.policy.network.heads.weight.detach().clone()
    learn(agent, 1)
    moved = (agent.policy.network.heads.weight != before).any(dim=2).view(NUM_TASKS, 2, 2)
    assert moved.tolist() == [[[False] * 2] * 2, [[True] * 2, [False] * 2], [[False] * 2] * 2]


def test_the_demonstrations_of_a_task_follow_the_seed() -> None:
    agent = build(seed=4, episodes=3, noise=0.2)
    env = Shown(1)
    agent.begin_task(1, env)
    assert env.asked == [(3, derive_seed(4, 2), 0.2)]


def test_task_data_are_the_demonstrations_once_in_their_order() -> None:
    agent = build()
    agent.begin_task(2, Shown(2))
    batches = list(agent.task_data(batch_size=64))
    assert [len(batch["observations"]) for batch in batches] == [64, 36]
    shown = Shown(2).demonstrations(5, derive_seed(0, 3), 0.1)
    observations = torch.cat([batch["observations"] for batch in batches])
    actions = torch.cat([batch["actions"] for batch in batches])
    assert torch.equal(observations, torch.from_numpy(shown["observations"][:, :-NUM_TASKS]))
    assert torch.cat([batch["task"] for batch in batches]).tolist() == [2] * 100
    torch.testing.assert_close(
        actions, torch.from_numpy(shown["expert_actions"]) / 2
    )  # now in [-1, 1]


def test_it_learns_what_the_expert_does() -> None:
    agent = build(hidden=(64,), layer_norm=False, episodes=50, batch_size=128)
    learn(agent, 0, steps=800)
    fresh = Shown(0).demonstrations(10, seed=99, noise=0.0)
    actions = agent.act(fresh["observations"])
    assert actions.shape == fresh["expert_actions"].shape
    error = np.square(actions - fresh["expert_actions"]).mean()
    assert error < 0.02 < 0.5 < np.square(fresh["expert_actions"]).mean()
    assert np.abs(actions).max() > 1.8  # of an action space up to 2


def test_updates_follow_the_steps() -> None:
    agent = build(updates_per_step=0.25)
    seen = learn(agent, 0, steps=84)
    assert agent._n_updates == len(seen) == 21
    assert seen == list(range(4, 85, 4))
    agent.rehearse(5)
    assert agent._n_updates == 26
    agent = build(updates_per_step=3)
    assert learn(agent, 0, steps=2) == [0, 0, 1, 1, 1, 2]
    assert "policy_loss" in agent.diagnostics()
    assert agent.diagnostics() == {}


def test_a_task_without_updates_is_refused() -> None:
    agent = build(updates_per_step=0.1)
    with pytest.raises(
        UserError, match=r"9 steps per task with 0\.1 updates per step .* no update"
    ):
        learn(agent, 0, steps=9)
    learn(agent, 0, steps=10)
    assert agent._n_updates == 1


@pytest.mark.parametrize(("reset", "states"), [(True, 0), (False, 4)])
def test_optimizers_are_reset_at_a_switch_unless_kept(reset: bool, states: int) -> None:
    agent = build(reset_optimizers=reset, layer_norm=False, hidden=(16,))
    learn(agent, 0)
    agent.begin_task(1, Shown(1))
    assert len(agent.components["policy"].optimizer.state) == states


def test_tasks_without_demonstrations_are_refused() -> None:
    env = load_sequence("split-digits").make_env(0, num_envs=2, num_threads=1, seed=0)
    with pytest.raises(UserError, match=r"these tasks have none: labelled .* agent 'classifier'"):
        agents.BC.build(env, num_tasks=5, method=None, seed=0)


@pytest.mark.parametrize("learner", [agents.SAC, agents.TD3, agents.PPO])
def test_reinforcement_learners_refuse_labelled_data(learner: Any) -> None:
    env = load_sequence("split-digits").make_env(0, num_envs=4, num_threads=1, seed=0)
    message = r"continuous actions, such as .* 'arm3'; .* Discrete\(2\): .* agent 'classifier'"
    with pytest.raises(UserError, match=f"^{learner.__name__} learns tasks with {message}"):
        learner.build(env, num_tasks=5, method=None, seed=0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("hidden", ()),
        ("hidden", (16, 0)),
        ("learning_rate", 0.0),
        ("batch_size", 0),
        ("episodes", 0),
        ("noise", -0.1),
        ("noise", float("nan")),
        ("updates_per_step", 0.0),
    ],
)
def test_numbers_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"'{option}' of .* must be .*, not"):
        build(**{option: value})


@pytest.mark.slow
def test_it_learns_to_reach() -> None:
    sequence = load_sequence("reach")
    env = sequence.make_env(0, num_envs=1, num_threads=1, seed=0)
    agent = agents.BC.build(env, num_tasks=1, method=None, seed=0)
    torch.manual_seed(0)
    agent.begin_task(0, env)
    agent.learn_task(2_500, lambda done: None)
    evaluator = Evaluator(sequence, num_episodes=50, num_threads=1)
    assert evaluator.evaluate(agent.act, 0).score >= 0.9
