"""The classifier of labelled data."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from lifelong_rl import agents
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.networks import MultiHeadMLP

NUM_TASKS = 2
CLASSES = 3


class Blobs:
    """Three clouds of points in the plane; the second task has the classes in another order."""

    observation_space = gym.spaces.Box(-10, 10, (2 + NUM_TASKS,), np.float32)
    action_space = gym.spaces.Discrete(CLASSES)
    num_envs = 4

    def __init__(self, task_id: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        clouds = rng.integers(0, CLASSES, 90)
        centres = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])
        inputs = centres[clouds] + 0.3 * rng.normal(size=(90, 2))
        tail = np.eye(NUM_TASKS)[[task_id] * 90]
        self.observations = np.hstack([inputs, tail]).astype(np.float32)
        self.labels = (clouds + task_id) % CLASSES

    def labelled_data(self) -> dict[str, np.ndarray]:
        return {"observations": self.observations, "labels": self.labels}


def build(method: ContinualMethod | None = None, **options: Any) -> agents.Classifier:
    defaults: dict[str, Any] = {"hidden": (16,), "batch_size": 32, "seed": 0}
    return agents.Classifier.build(
        Blobs(0), num_tasks=NUM_TASKS, method=method, **(defaults | options)
    )


def learn(agent: agents.Classifier, task_id: int, steps: int = 300) -> None:
    torch.manual_seed(task_id)
    agent.begin_task(task_id, Blobs(task_id))
    agent.learn_task(steps, lambda done: None)
    agent.end_task()


def accuracy(agent: agents.Classifier, task_id: int) -> float:
    test = Blobs(task_id, seed=1)
    return float((agent.act(test.observations) == test.labels).mean())


def test_each_task_is_learned_with_its_own_head() -> None:
    agent = build(learning_rate=1e-2)
    assert accuracy(agent, 0) < 0.7
    learn(agent, 0)
    assert accuracy(agent, 0) > 0.95
    before = agent.policy.heads.weight.detach().clone()
    learn(agent, 1)
    assert accuracy(agent, 1) > 0.95
    moved = (agent.policy.heads.weight != before).view(NUM_TASKS, -1).any(dim=1)
    assert moved.tolist() == [False, True]


def test_the_loss_is_the_cross_entropy() -> None:
    agent = build()
    with torch.no_grad():
        for parameter in agent.policy.heads.parameters():
            parameter.zero_()
        agent.policy.heads.bias.view(NUM_TASKS, CLASSES)[1] = torch.tensor([0.0, 1.0, 2.0])
    rows = torch.tensor([[0.0, 0.0, 0.0, 1.0]] * 2)
    task = torch.ones(2, dtype=torch.int64)
    batch = {"observations": rows[:, :2], "task": task, "labels": torch.tensor([0, 2])}
    component = agent.components["classifier"]
    log_sum = math.log(1 + math.e + math.e**2)
    assert component.loss(batch).item() == pytest.approx(log_sum - 1.0, rel=1e-6)  # mean of 0, 2
    expected = torch.tensor([[0.0, 1.0, 2.0]] * 2).softmax(dim=1)
    torch.testing.assert_close(component.predict(batch).probs, expected)
    other = component.with_task(batch, 0)
    assert component.loss(other).item() == pytest.approx(math.log(CLASSES), rel=1e-6)
    assert agent.act(rows.numpy()).tolist() == [2, 2]


def test_the_seed_decides_the_network() -> None:
    one, same, other = (build(seed=seed).policy.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_network_has_an_input_for_each_feature_and_an_output_for_each_class() -> None:
    agent = build(hidden=(8, 5), layer_norm=True)
    assert isinstance(agent.policy, MultiHeadMLP)
    assert agent.policy.hidden[0].weight.shape == (1, 8, 2)
    assert agent.policy.heads.weight.shape == (1, NUM_TASKS * CLASSES, 5)
    assert agent.policy.norm is not None
    assert build(layer_norm=False).policy.norm is None


def test_the_batch_size_is_the_number_of_rows_drawn() -> None:
    rows = []

    class Watch(ContinualMethod):
        def extend_batch(self, component: Any, batch: Any) -> Any:
            rows.append(len(batch["labels"]))
            return batch

    learn(build(Watch(), batch_size=7), 0, steps=10)
    assert rows == [7] * 5


def test_tasks_without_labels_are_refused() -> None:
    class Unlabelled:
        observation_space = gym.spaces.Box(-1, 1, (4,))
        action_space = gym.spaces.Box(-1, 1, (2,))

    with pytest.raises(UserError, match=r"these tasks have none: .* such as 'sac' and 'bc'"):
        agents.Classifier.build(Unlabelled(), num_tasks=2, method=None, seed=0)


@pytest.mark.parametrize(
    ("option", "value"),
    [("hidden", ()), ("learning_rate", -1.0), ("batch_size", 0), ("updates_per_step", 0.0)],
)
def test_numbers_out_of_range_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"'{option}' of .* must be .*, not"):
        build(**{option: value})
