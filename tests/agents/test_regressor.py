"""The regressor of labelled data."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from tiny_learners import NUM_TASKS, OBS_DIM, Labels, Numbers, Points

from lifelong_rl import agents, continual
from lifelong_rl.errors import UserError
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.registry import AGENTS
from lifelong_rl.storage.state_tree import decode_tree, encode_tree


class Corners(Numbers):
    """Four rows; labels are the corners of a rectangle, 2 × 4, moved by ten for each task."""

    def __init__(self, task_id: int, size: float = 1.0) -> None:
        super().__init__(task_id)
        self.size = size

    def labelled_data(self) -> dict[str, np.ndarray]:
        corners = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
        tail = np.eye(NUM_TASKS)[[self.task_id] * 4]
        return {
            "observations": np.hstack([np.eye(4, OBS_DIM), tail]),
            "labels": 10.0 * self.task_id + self.size * corners,
        }


class AllCorners(Corners):
    """Both tasks at once."""

    def labelled_data(self) -> dict[str, np.ndarray]:
        parts = [Corners(k).labelled_data() for k in range(NUM_TASKS)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def build(env: Any, **options: Any) -> agents.Regressor:
    seed_everything(0, 0)
    given: dict[str, Any] = {"num_tasks": NUM_TASKS, "method": None, "hidden": (8, 8), **options}
    return agents.Regressor.build(env, seed=0, **given)


def say_nothing(agent: agents.Regressor) -> None:
    """Let the network put out zeros."""
    with torch.no_grad():
        for parameter in agent.policy.heads.parameters():
            parameter.zero_()


SPREAD = math.sqrt(2.5)  # of the corners: variances 1 and 4


def test_labels_are_standardised_by_the_mean_and_one_spread_of_each_task() -> None:
    agent = build(Corners(0))
    say_nothing(agent)
    shown = np.eye(OBS_DIM + NUM_TASKS, dtype=np.float32)[-NUM_TASKS:]  # the one-hots
    assert agent.act(shown).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    for task_id in range(NUM_TASKS):
        agent.begin_task(task_id, Corners(task_id))
        (rows,) = agent.task_data()
        expected = np.array([[-1, -2], [1, -2], [-1, 2], [1, 2]]) / SPREAD
        np.testing.assert_allclose(rows["labels"].numpy(), expected, rtol=1e-5)
        assert rows["task"].tolist() == [task_id] * 4
    assert agent.act(shown).tolist() == [[1.0, 2.0], [11.0, 12.0]]
    # what was standardised once stays: rows of memories are in these units
    agent.begin_task(0, Corners(0, size=3.0))
    (rows,) = agent.task_data()
    assert rows["labels"][3].tolist() == pytest.approx([5 / SPREAD, 10 / SPREAD], rel=1e-5)
    together = build(AllCorners(0))
    together.begin_task(0, AllCorners(0))
    say_nothing(together)
    assert together.act(shown).tolist() == [[1.0, 2.0], [11.0, 12.0]]


def test_labels_that_are_all_alike_are_only_shifted() -> None:
    agent = build(Corners(0))
    agent.begin_task(1, Corners(1, size=0.0))
    (rows,) = agent.task_data()
    assert rows["labels"].eq(0).all() and agent._spreads.tolist() == [1.0, 1.0]


def test_the_loss_is_the_squared_error_and_the_prediction_a_gaussian() -> None:
    agent = build(Corners(0))
    agent.begin_task(0, Corners(0))
    say_nothing(agent)
    with torch.no_grad():
        agent.policy.heads.bias.view(NUM_TASKS, 2)[0] = torch.tensor([0.5, -1.0])
    component: Any = agent.components["regressor"]
    batch = {
        "observations": torch.zeros(2, OBS_DIM),
        "task": torch.zeros(2, dtype=torch.int64),
        "labels": torch.tensor([[0.5, 0.0], [2.5, -1.0]]),
    }
    assert component.loss(batch).item() == pytest.approx((0 + 1 + 4 + 0) / 4)
    found = component.predict(batch)
    assert found.batch_shape == (2,)
    assert found.base_dist.loc.tolist() == [[0.5, -1.0]] * 2
    assert found.base_dist.scale.eq(1).all()
    one_hot = np.eye(OBS_DIM + NUM_TASKS, dtype=np.float32)[[-NUM_TASKS]]
    expected = [1 + 0.5 * SPREAD, 2 - SPREAD]
    assert agent.act(one_hot)[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_positions_are_learned_in_their_own_units() -> None:
    agent = build(Numbers(0), hidden=(32,), learning_rate=1e-2)
    for task_id in range(NUM_TASKS):
        seed_everything(0, 1 + task_id)
        agent.begin_task(task_id, Numbers(task_id))
        agent.learn_task(400, lambda done: None)
        agent.end_task()
        data = Numbers(task_id).labelled_data()
        said = agent.act(data["observations"].astype(np.float32))
        assert said.dtype == np.float32 and said.shape == data["labels"].shape
        errors = np.linalg.norm(said - data["labels"], axis=1)
        spread = np.linalg.norm(data["labels"] - data["labels"].mean(axis=0), axis=1)
        assert errors.mean() < 0.2 * spread.mean()


def test_the_units_are_saved_with_the_network() -> None:
    agent = build(Corners(1))
    agent.begin_task(1, Corners(1))
    agent.learn_task(8, lambda done: None)
    copied = build(Corners(0))
    copied.load_state_dict(decode_tree(*encode_tree(agent.state_dict())))
    shown = Corners(1).labelled_data()["observations"].astype(np.float32)
    np.testing.assert_array_equal(copied.act(shown), agent.act(shown))
    copied.begin_task(1, Corners(1, size=5.0))  # which are not taken anew
    np.testing.assert_array_equal(copied._spreads.numpy(), agent._spreads.numpy())
    assert copied._known.tolist() == [False, True]


def test_with_one_task_there_is_no_one_hot() -> None:
    class Alone(Corners):
        observation_space = gym.spaces.Box(-10, 10, (OBS_DIM,), np.float32)

        def labelled_data(self) -> dict[str, np.ndarray]:
            found = super().labelled_data()
            return {**found, "observations": found["observations"][:, :OBS_DIM]}

    agent = build(Alone(0), num_tasks=1)
    agent.begin_task(0, Alone(0))
    say_nothing(agent)
    assert agent.act(np.zeros((3, OBS_DIM), np.float32)).tolist() == [[1.0, 2.0]] * 3


def test_other_tasks_are_refused() -> None:
    for env in (Labels(0), Points(0)):
        with pytest.raises(UserError, match=r"labelled with numbers, such as .* 'frames-position'"):
            build(env)
    for name in ("classifier", "semi-supervised"):
        with pytest.raises(UserError, match=r"numbers to regress .* for the agent 'regressor'"):
            AGENTS.get(name).build(Numbers(0), num_tasks=NUM_TASKS, method=None, seed=0)
    agent = build(Corners(0), method=continual.make("icarl"))
    with pytest.raises(UserError, match="icarl cannot act on 'regressor': it needs classes"):
        agent.begin_task(0, Corners(0))
