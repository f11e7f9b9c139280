"""Episodes driven by an expert: whole, repeatable, and each independent of all others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lifelong_rl.envs import demonstrations
from lifelong_rl.envs.arm.observation import State
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.demonstrations import Episodes, collect
from lifelong_rl.envs.experts import EXPERTS, get_expert
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.tasks import TASKS, get_task

REACH = get_task("reach")


def towards_goal(state: State) -> Array:
    """Brings the hand to the goal in steps of at most 5 cm a second; leaves the bounds at first."""
    actions = np.zeros((len(state.hand), 4))
    actions[:, :3] = (state.goal - state.hand) / 0.05
    return actions


def drive(episodes: int, seed: int = 3, **options: Any) -> Episodes:
    return collect(REACH, towards_goal, episodes=episodes, seed=seed, **options)


def assert_same(a: Episodes, b: Episodes) -> None:
    for name, array in vars(a).items():
        np.testing.assert_array_equal(array, getattr(b, name), err_msg=name)


def first(episodes: Episodes, number: int) -> Episodes:
    return Episodes(**{name: array[:number] for name, array in vars(episodes).items()})


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_episodes_depend_neither_on_threads_nor_on_their_number(
    noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstrations, "ROWS", 4)
    many = drive(10, noise=noise)  # two full rounds and a half
    assert len(many.lengths) == 10
    assert_same(drive(10, noise=noise, num_threads=2), many)
    assert_same(drive(5, noise=noise), first(many, 5))
    starts = many.observations[:, 0]
    assert len(np.unique(starts, axis=0)) == 10
    assert not np.array_equal(drive(2, seed=4).observations[:, 0], starts[:2])


def test_the_first_episodes_are_those_of_the_rows() -> None:
    env = BatchEnv(REACH, 3)
    env.seed(3)
    np.testing.assert_array_equal(drive(3).observations[:, 0], env.reset())


def test_recorded_actions_lead_to_the_recorded_episodes() -> None:
    found = drive(3, noise=0.5)
    env = BatchEnv(REACH, 3)
    env.seed(3)
    np.testing.assert_array_equal(env.reset(), found.observations[:, 0])
    for t in range(REACH.horizon):
        step = env.step(found.actions[:, t])
        np.testing.assert_array_equal(step.observation, found.observations[:, t + 1])
        np.testing.assert_array_equal(step.reward, found.rewards[:, t])
        np.testing.assert_array_equal(step.terms, found.reward_terms[:, t])
        np.testing.assert_array_equal(step.success, found.success[:, t])
    assert step.truncated.all()
    assert (found.lengths == REACH.horizon).all()


def test_noise_has_its_size_and_labels_are_the_experts() -> None:
    quiet, noisy = drive(20), drive(20, noise=0.2)
    np.testing.assert_array_equal(quiet.actions, quiet.expert_actions)
    assert np.abs(noisy.actions).max() == 1.0  # clipped
    difference = (noisy.actions - noisy.expert_actions)[..., 3]  # the expert leaves it at zero
    assert difference.std() == pytest.approx(0.2, rel=0.05)
    assert abs(difference.mean()) < 0.02
    assert len(np.unique(difference[:, 0])) == 20  # every episode has its own
    # the expert is asked in the states that the noise has led to
    assert not np.array_equal(noisy.expert_actions[:, 5], quiet.expert_actions[:, 5])
    difference = noisy.observations[:, 1, 17:20] - quiet.observations[:, 1, 17:20]
    np.testing.assert_array_equal(difference, 0.0)  # the same goals


def test_a_diverging_simulation_ends_its_episode_only(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = drive(3)
    step = BatchEnv.step
    taken = []

    def break_row_1(self: BatchEnv, actions: Any) -> Any:
        taken.append(actions)
        if len(taken) == 8:
            self.batch.qpos[1] = np.nan
        return step(self, actions)

    monkeypatch.setattr(BatchEnv, "step", break_row_1)
    found = drive(3)
    assert found.lengths.tolist() == [REACH.horizon, 8, REACH.horizon]
    np.testing.assert_array_equal(found.observations[1, :8], whole.observations[1, :8])
    np.testing.assert_array_equal(
        found.observations[1, 8:], np.broadcast_to(found.observations[1, 7], (43, 26))
    )
    for name in ("actions", "expert_actions", "rewards", "reward_terms", "success"):
        array = getattr(found, name)
        assert not array[1, 8:].any()
        np.testing.assert_array_equal(array[::2], getattr(whole, name)[::2])
    assert found.actions[1, 7].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "episodes is 0; it must be at least 1"),
        ({"episodes": 1, "noise": -0.1}, r"noise is -0\.1; it must be a number of at least 0"),
        ({"episodes": 1, "noise": float("nan")}, "noise is nan"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drive(**options)


def test_every_task_has_an_expert() -> None:
    assert set(EXPERTS) == set(TASKS)
    with pytest.raises(ValueError, match="the task 'fly' has no expert; those with one: "):
        get_expert("fly")


@pytest.mark.parametrize("name", sorted(EXPERTS))
def test_experts_act_on_each_row_by_itself(name: str) -> None:
    """The demonstrations of an expert are the same bits in any company."""
    task, expert = get_task(name), get_expert(name)
    few = collect(task, expert, episodes=2, seed=0, noise=0.1)
    assert_same(first(collect(task, expert, episodes=5, seed=0, noise=0.1), 2), few)
    env = BatchEnv(task, 5)
    env.seed(0)
    env.reset()
    state = env.state()
    kept = {field: array.copy() for field, array in vars(state).items()}
    actions = expert(state)
    assert actions.shape == (5, task.action_dim)
    np.testing.assert_array_equal(actions[1:3], expert(env.state(np.array([1, 2]))))
    for field, array in kept.items():  # the state was only looked at
        np.testing.assert_array_equal(getattr(state, field), array)
