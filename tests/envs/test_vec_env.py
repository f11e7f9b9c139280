"""The VecEnv adapter, its seeds and the sequences built on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

from lifelong_rl import envs
from lifelong_rl.envs.arm.task import ArmTask
from lifelong_rl.envs.datasets import Arrays
from lifelong_rl.envs.demonstrations import Episodes, collect
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.sequences import ARM3, Sequence, get_sequence
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UnknownNameError
from lifelong_rl.registry import SEQUENCES


def test_reset_after_seed_starts_the_same_episodes_again() -> None:
    env = envs.make_vec("drawer-open", num_envs=3, seed=4)
    first, second = env.reset(), env.reset()
    assert not np.array_equal(first, second)
    env.step(np.ones((3, 4)))
    env.seed(4)
    np.testing.assert_array_equal(env.reset(), first)
    np.testing.assert_array_equal(env.reset(), second)


def test_environments_without_a_seed_differ() -> None:
    a, b = (envs.make_vec("reach", num_envs=2) for _ in range(2))
    assert not np.array_equal(a.reset(), b.reset())


def test_success_is_latched_over_the_episode() -> None:
    """A hand that passes through the goal and leaves has solved the episode."""
    env = envs.make_vec("reach", num_envs=4, seed=0)
    env.reset()
    solved = np.zeros(4, bool)
    for _ in range(50):
        state = env.batch_env.state()
        way = np.where(solved[:, None], 1.0, (state.goal - state.hand) / 0.06)
        _, _, _, infos = env.step(np.column_stack([np.clip(way, -1, 1), np.zeros(4)]))
        now = np.array([info["success"] for info in infos])
        solved |= now
    assert not now.any()
    assert [info["episode"]["success"] for info in infos] == [True] * 4
    assert [info["is_success"] for info in infos] == [True] * 4


def test_unknown_task_names_the_nearest() -> None:
    message = "unknown task 'drawr-open'; did you mean 'drawer-open'? (see: lifelong-rl list tasks)"
    with pytest.raises(UnknownNameError) as error:
        envs.make_vec("drawr-open", num_envs=1)
    assert str(error.value) == message
    assert isinstance(error.value, ValueError)
    with pytest.raises(UnknownNameError, match="known: button-press, door-open, drawer-close, "):
        envs.make_vec("juggle", num_envs=1)


def test_unknown_render_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown render_mode 'human'; allowed: None, 'rgb_array'"):
        envs.make_vec("reach", num_envs=1, render_mode="human")


def test_attributes_are_those_of_the_batch() -> None:
    env = envs.make_vec("reach", num_envs=3, seed=0)
    assert env.get_attr("render_mode") == [None] * 3
    assert env.get_attr("num_diverged", indices=[0, 2]) == [0, 0]
    with pytest.raises(AttributeError):
        env.get_attr("gravity")
    with pytest.raises(NotImplementedError, match="rows of one batch"):
        env.set_attr("goal", 0)
    with pytest.raises(NotImplementedError, match="rows of one batch"):
        env.env_method("reset")
    assert env.env_is_wrapped(Monitor) == [True] * 3  # episodes report themselves
    assert env.env_is_wrapped(VecMonitor, indices=0) == [False]


@pytest.mark.parametrize("task_id", [0, 1, 2])
def test_a_sequence_appends_the_one_hot_everywhere(task_id: int) -> None:
    env = ARM3.make_env(task_id, num_envs=2, num_threads=1, seed=0)
    plain = envs.make_vec(ARM3.tasks[task_id], num_envs=2, seed=0)
    assert env.observation_space.shape == (29,)
    tail = np.eye(3, dtype=np.float32)[[task_id, task_id]]
    observation, expected = env.reset(), plain.reset()
    for _ in range(51):
        assert observation.dtype == np.float32
        np.testing.assert_array_equal(observation, np.concatenate([expected, tail], axis=1))
        observation, _, dones, infos = env.step(np.full((2, 4), 0.1))
        expected, _, _, plain_infos = plain.step(np.full((2, 4), 0.1))
        if dones[0]:
            np.testing.assert_array_equal(
                infos[0]["terminal_observation"],
                np.concatenate([plain_infos[0]["terminal_observation"], tail[0]]),
            )


def test_sequences_describe_themselves() -> None:
    assert get_sequence("arm3") is ARM3
    for name, sequence in SEQUENCES.items():
        assert sequence.name == name
        assert sequence.num_tasks == len(sequence.tasks)
        assert sequence.description
        if isinstance(sequence, Sequence):
            assert set(sequence.tasks) <= set(envs.TASKS)
    assert ARM3.versions() == {"reach": "v0", "drawer-open": "v0", "button-press": "v0"}
    with pytest.raises(ValueError, match="task_id is 3; sequence 'arm3' has tasks 0 to 2"):
        ARM3.make_env(3, num_envs=1)
    with pytest.raises(UnknownNameError, match="did you mean 'claw20'"):
        get_sequence("claw200")


def test_a_sequence_of_named_tasks() -> None:
    sequence = get_sequence("button-press,reach")
    assert sequence.tasks == ("button-press", "reach")
    assert get_sequence("reach").tasks == ("reach",)
    with pytest.raises(UnknownNameError, match="unknown task 'rech'; did you mean 'reach'"):
        get_sequence("button-press,rech")
    with pytest.raises(UnknownNameError, match="did you mean 'reach'"):
        get_sequence("rech")
    with pytest.raises(ValueError, match="has no tasks"):
        Sequence("empty", (), "nothing")


def test_reordering_depends_on_the_seed_alone() -> None:
    orders = [ARM3.reordered(seed).tasks for seed in range(20)]
    assert orders == [ARM3.reordered(seed).tasks for seed in range(20)]
    assert all(sorted(order) == sorted(ARM3.tasks) for order in orders)
    assert len(set(orders)) == 6
    env = ARM3.reordered(3).make_env(0, num_envs=2, seed=0)
    assert env.batch_env.task.name == orders[3][0]
    np.testing.assert_array_equal(env.reset()[:, -3:], [[1, 0, 0]] * 2)  # by position


def test_tasks_describe_themselves_in_one_line() -> None:
    for name, task in envs.TASKS.items():
        assert task.name == name
        if isinstance(task, ArmTask):
            assert task.description == (task.__doc__ or "").splitlines()[0]
        assert task.description.endswith(".") and "\n" not in task.description
    descriptions = [task.description for task in envs.TASKS.values()]
    assert len(set(descriptions)) == len(descriptions)


def test_the_count_of_diverged_episodes_is_the_batchs() -> None:
    env = envs.make_vec("reach", num_envs=2, seed=0)
    env.reset()
    env.batch_env.batch.bind("qpos")[1, 0] = np.nan
    _, _, dones, infos = env.step(np.zeros((2, 4)))
    assert env.num_diverged == 1
    assert dones.tolist() == [False, True]
    assert infos[1]["diverged"] is True


def test_demonstrations_are_those_of_the_expert_with_the_one_hot() -> None:
    env = ARM3.make_env(1, num_envs=2, seed=0)
    before = env.reset()
    shown = env.demonstrations(3, seed=5, noise=0.2)
    task = get_task("drawer-open")
    found = collect(task, get_expert("drawer-open"), episodes=3, seed=5, noise=0.2)
    size = 3 * task.horizon
    for name, recorded in (
        ("observations", found.observations[:, :-1]),
        ("next_observations", found.observations[:, 1:]),
    ):
        assert shown[name].shape == (size, task.observation_dim + 3)
        np.testing.assert_array_equal(shown[name][:, :-3], recorded.reshape(size, -1))
        np.testing.assert_array_equal(shown[name][:, -3:], [[0, 1, 0]] * size)
    for name in ("actions", "expert_actions"):
        np.testing.assert_array_equal(shown[name], getattr(found, name).reshape(size, -1))
    np.testing.assert_array_equal(shown["rewards"], found.rewards.astype(np.float32).ravel())
    np.testing.assert_array_equal(shown["dones"], np.zeros(size))  # time limits are no ends
    assert {rows.dtype for rows in shown.values()} == {np.dtype(np.float32)}
    env.seed(0)  # the environments themselves were left alone
    np.testing.assert_array_equal(env.reset(), before)


def test_the_actions_shown_lead_to_the_states_shown() -> None:
    """Demonstrations start as the episodes of the environments do, and are transitions."""
    env = envs.make_vec("button-press", num_envs=2)
    shown = env.demonstrations(2, seed=5, noise=0.3)
    of_rows = {name: rows.reshape(2, 50, *rows.shape[1:]) for name, rows in shown.items()}
    env.seed(5)
    observations = env.reset()
    for t in range(50):
        np.testing.assert_array_equal(observations, of_rows["observations"][:, t])
        np.testing.assert_array_equal(env.expert_actions(), of_rows["expert_actions"][:, t])
        observations, rewards, dones, infos = env.step(of_rows["actions"][:, t])
        np.testing.assert_array_equal(rewards, of_rows["rewards"][:, t])
        if not dones.any():
            np.testing.assert_array_equal(observations, of_rows["next_observations"][:, t])
    last = [info["terminal_observation"] for info in infos]
    np.testing.assert_array_equal(last, of_rows["next_observations"][:, -1])


def test_the_expert_is_asked_about_the_current_states() -> None:
    parts = get_sequence("reach,button-press").make_joint_env(num_envs=3, seed=1)
    parts.reset()
    alone = [part.expert_actions() for part in parts.parts]
    assert [len(actions) for actions in alone] == [2, 1]
    actions = parts.expert_actions()
    np.testing.assert_array_equal(actions, np.concatenate(alone))
    assert actions.dtype == np.float32 and np.abs(actions).max() <= 1.0
    parts.step(actions)
    assert not np.array_equal(parts.expert_actions(), actions)


def test_a_store_is_told_what_decides_the_demonstrations() -> None:
    asked: list[Mapping[str, Any]] = []

    def store(description: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        asked.append(json.loads(json.dumps(description)))
        return make()

    sequence = ARM3.with_store(store)
    assert sequence == ARM3
    shown = sequence.make_env(1, num_envs=2).demonstrations(2, seed=5, noise=0.2)
    plain = ARM3.make_env(1, num_envs=2).demonstrations(2, seed=5, noise=0.2)
    for name, rows in plain.items():
        np.testing.assert_array_equal(shown[name], rows)
    get_sequence("reach,reach").with_store(store).make_joint_env(num_envs=2).demonstrations(1, 0)
    assert [(each["kind"], each["task"], each["seed"]) for each in asked] == [
        ("demonstrations", "drawer-open", 5),
        ("demonstrations", "reach", 0),
        ("demonstrations", "reach", 0),
    ]
    assert asked[0]["episodes"] == 2 and asked[0]["noise"] == 0.2
    assert asked[0]["task_version"] == "v0"
    assert asked[0]["made_with"]["mujoco"] == version("mujoco")
    assert asked[1] == asked[2]  # where a task stands in a sequence does not matter
    assert sequence.reordered(1).store is store


def test_demonstrations_leave_out_what_comes_after_an_episodes_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = envs.make_vec("reach", num_envs=1)
    whole = env.demonstrations(2, seed=0)

    def shorter(*args: Any, **options: Any) -> Episodes:
        return replace(collect(*args, **options), lengths=np.array([3, 50]))

    monkeypatch.setattr("lifelong_rl.envs.vec_env.collect", shorter)
    short = env.demonstrations(2, seed=0)
    assert set(short) == set(whole)
    for name in short:
        np.testing.assert_array_equal(short[name][:3], whole[name][:3])
        np.testing.assert_array_equal(short[name][3:], whole[name][50:])
