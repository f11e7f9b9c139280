# ruff: noqa: NPY002 (the global generators are what is tested)
"""Evaluation runs the same episodes every time and changes nothing around it."""

import random

import gymnasium
import numpy as np
import pytest
import torch
import toy_plugin

from lifelong_rl.errors import NonFiniteError
from lifelong_rl.learning.seeding import EVALUATION_SEED
from lifelong_rl.runs import evaluation
from lifelong_rl.runs.contract import EnvContract
from lifelong_rl.runs.evaluation import Evaluation, Evaluator, evaluate


class ScriptedEnv:
    """Row i's episode ends after LENGTHS[i] steps; then the next one begins at once."""

    LENGTHS = np.array([1, 2, 3])
    SUCCESS_AT = np.array([1, 1, 9])

    num_envs = 3
    observation_space = action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def __init__(self):
        self.seeds = []
        self.rewards = np.ones(3)

    def seed(self, seed=None):
        self.seeds.append(seed)

    def reset(self):
        self.time = np.zeros(3, dtype=int)
        self.latched = np.zeros(3, dtype=bool)
        return np.zeros((3, 2))

    def step(self, actions):
        self.time += 1
        self.latched |= self.time == self.SUCCESS_AT
        dones = self.time == self.LENGTHS
        infos = [{"success": False} for _ in range(3)]
        for row in np.flatnonzero(dones):
            infos[row]["episode"] = {"r": 0, "l": 0, "success": bool(self.latched[row])}
            infos[row]["diverged"] = row == 1
            self.time[row], self.latched[row] = 0, False
        return np.zeros((3, 2)), self.rewards.copy(), dones, infos

    def close(self):
        pass


def run(act, env, num_episodes=3):
    return evaluate(act, env, EnvContract(env, "scripted", 3), num_episodes=num_episodes)


def test_one_episode_per_row_with_success_at_any_step():
    env = ScriptedEnv()
    found = run(lambda observations: observations, env)
    assert found.scores.tolist() == [True, True, False]
    assert found.returns.tolist() == [1, 2, 3]
    assert (found.score, found.mean_return, found.num_diverged) == (2 / 3, 2, 1)
    assert env.seeds == [EVALUATION_SEED]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reward_that_is_not_finite_stops_the_run(value):
    env = ScriptedEnv()
    env.rewards[2] = value
    with pytest.raises(NonFiniteError, match="the reward of 'environment' is"):
        run(lambda observations: observations, env)


def test_a_reward_after_the_end_of_a_row_is_not_looked_at():
    env = ScriptedEnv()
    step = env.step

    def spoiled(actions):
        observations, rewards, dones, infos = step(actions)
        if actions[0, 0] > 0:
            rewards[0] = np.nan
        return observations + 1, rewards, dones, infos

    env.step = spoiled
    assert run(lambda observations: observations, env).returns.tolist() == [1, 2, 3]


def test_global_generators_are_as_before():
    def draw(observations):
        random.random(), np.random.normal(), torch.randn(1)
        return observations

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    run(draw, ScriptedEnv())
    after = random.random(), np.random.normal(), torch.randn(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert after == (random.random(), np.random.normal(), torch.randn(1))


def test_the_same_episodes_every_time_and_a_prefix_with_more_of_them():
    def rough(observations):
        return toy_plugin.TARGETS[0] + 0.3 * observations[:, 1:2]

    sequence = toy_plugin.ToySequence()
    few = Evaluator(sequence, num_episodes=4, num_threads=1)
    many = Evaluator(sequence, num_episodes=9, num_threads=1)
    first = few.evaluate(rough, 0)
    assert few.evaluate(rough, 0).returns.tolist() == first.returns.tolist()
    assert many.evaluate(rough, 0).returns[:4].tolist() == first.returns.tolist()
    assert len(set(first.returns)) == 4


def test_the_starts_of_tests_are_others():
    def rough(observations):
        return toy_plugin.TARGETS[0] + 0.3 * observations[:, 1:2]

    sequence = toy_plugin.ToySequence()
    seen, unseen = (
        Evaluator(sequence, num_episodes=50, num_threads=1, starts=starts).evaluate(rough, 0)
        for starts in ("validation", "test")
    )
    assert not {*seen.returns} & {*unseen.returns}
    assert Evaluator(sequence, num_episodes=50, num_threads=1).evaluate(
        rough, 0
    ).returns.tolist() == (seen.returns.tolist())


def test_what_came_of_each_episode_is_told_in_little_room():
    assert Evaluation(np.array([True, False, True]), np.zeros(3), 0).outcomes == "101"
    assert Evaluation(np.array([0.5, 1.0]), np.zeros(2), 0).outcomes == [0.5, 1.0]


def test_more_episodes_than_environments_go_on_where_the_last_ones_ended():
    """Row i of three runs episodes i, 3 + i and so on; those of ScriptedEnv are all alike."""
    env = ScriptedEnv()
    found = run(lambda observations: observations, env, num_episodes=8)
    assert found.returns.tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    assert found.scores.tolist() == [True, True, False, True, True, False, True, True]
    assert found.num_diverged == 3
    assert env.seeds == [EVALUATION_SEED]


def test_no_more_environments_are_built_than_are_needed_at_once(monkeypatch):
    monkeypatch.setattr(evaluation, "MOST_ENVS", 4)

    def rough(observations):
        return toy_plugin.TARGETS[0] + 0.3 * observations[:, 1:2]

    sequence, counts = toy_plugin.ToySequence(), []
    make_env = sequence.make_env
    sequence.make_env = lambda *a, **k: (counts.append(k["num_envs"]), make_env(*a, **k))[1]
    few = Evaluator(sequence, num_episodes=4, num_threads=9).evaluate(rough, 0)
    many = Evaluator(sequence, num_episodes=10, num_threads=9).evaluate(rough, 0)
    assert counts == [4, 4]
    assert many.returns[:4].tolist() == few.returns.tolist()
    assert len(set(many.returns)) == 10  # no episode twice
    sequence.most_envs = 3
    fewest = Evaluator(sequence, num_episodes=10, num_threads=9).evaluate(rough, 0)
    assert counts == [4, 4, 3]
    assert fewest.returns[:3].tolist() == few.returns[:3].tolist()


def test_evaluator_closes_what_it_made(monkeypatch):
    made = []
    make_env = toy_plugin.ToySequence.make_env
    monkeypatch.setattr(
        toy_plugin.ToySequence,
        "make_env",
        lambda *a, **k: (made.append(make_env(*a, **k)), made[-1])[1],
    )
    evaluator = Evaluator(toy_plugin.ToySequence(), num_episodes=2, num_threads=1)
    for _ in range(3):
        evaluator.evaluate_all(lambda observations: observations[:, :2])
    evaluator.close()
    assert len(made) == 3
    assert all(env.closed for env in made)
