"""Bad input and diverging simulations."""

from __future__ import annotations

import copy
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from lifelong_rl import envs
from lifelong_rl.envs.arm.task import Arm, Start
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.demonstrations import choose
from lifelong_rl.envs.robot import Robot
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.envs.tasks.drawer_open import OPEN, DrawerOpen
from lifelong_rl.envs.tasks.reach import Reach
from lifelong_rl.errors import UserError


def nan_position(env: BatchEnv, row: int) -> None:
    """Break a row's positions."""
    env.batch.bind("qpos")[row, 2] = np.nan


def huge_velocity(env: BatchEnv, row: int) -> None:
    """Break a row's velocities."""
    env.batch.bind("qvel")[row, :] = 1e12


@pytest.mark.parametrize("task", sorted(envs.TASKS))
@pytest.mark.parametrize("break_row", [nan_position, huge_velocity])
def test_a_diverged_row_is_ended_and_counted_and_others_are_untouched(
    task: str, break_row: Callable[[BatchEnv, int], None], caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = (envs.make_vec(task, num_envs=4, seed=0) for _ in range(2))
    broken.reset()
    whole.reset()
    rng = np.random.default_rng(0)
    for t in range(20):
        if t in (5, 9):
            break_row(broken.batch_env, 2)
        actions = rng.uniform(-1, 1, (4, whole.batch_env.task.action_dim))
        with caplog.at_level(logging.WARNING):
            obs, reward, done, infos = broken.step(actions)
        expected_obs, expected_reward, _, _ = whole.step(actions)
        others = [0, 1, 3]
        np.testing.assert_array_equal(obs[others], expected_obs[others])
        np.testing.assert_array_equal(reward[others], expected_reward[others])
        assert np.isfinite(obs).all()
        np.testing.assert_array_equal(done, np.arange(4) == (2 if t in (5, 9) else -1))
        if t in (5, 9):
            assert infos[2]["diverged"] is True
            assert infos[2]["TimeLimit.truncated"] is True
            assert infos[2]["success"] is False
            assert np.isfinite(infos[2]["terminal_observation"]).all()
            assert infos[2]["episode"]["l"] == (6 if t == 5 else 4)
            assert reward[2] == 0.0
    assert broken.batch_env.num_diverged == 2
    assert whole.batch_env.num_diverged == 0
    messages = [record.message for record in caplog.records]
    assert len(messages) == 1  # told once, counted always
    assert f"task {task}: the simulation of environment 2 diverged" in messages[0]


def test_a_diverged_row_starts_its_next_episode_as_if_nothing_had_happened() -> None:
    env, reference = (BatchEnv(get_task("drawer-open"), 2) for _ in range(2))
    for e in (env, reference):
        e.seed(3)
        e.reset()
    nan_position(env, 0)
    assert env.step(np.zeros((2, 4))).diverged.tolist() == [True, False]
    np.testing.assert_array_equal(env.reset([0]), reference.reset([0]))


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3), (2, 4, 1)])
def test_actions_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    env = BatchEnv(get_task("reach"), 2)
    env.reset()
    with pytest.raises(ValueError, match=r"2 environments take \(2, 4\)"):
        env.step(np.zeros(shape))


def test_nan_actions_are_refused() -> None:
    env = BatchEnv(get_task("reach"), 2)
    env.reset()
    actions = np.zeros((2, 4))
    actions[1, 3] = np.nan
    with pytest.raises(ValueError, match=r"action of environment 1 .* must hold 4 numbers"):
        env.step(actions)


def test_actions_out_of_range_are_clipped() -> None:
    a, b = (BatchEnv(get_task("reach"), 2) for _ in range(2))
    for env in (a, b):
        env.seed(0)
        env.reset()
    np.testing.assert_array_equal(
        a.step(np.array([[5, -np.inf, 0.5, 3], [0, 0, 0, -7]])).observation,
        b.step(np.array([[1, -1, 0.5, 1], [0, 0, 0, -1]])).observation,
    )


@pytest.mark.parametrize(
    ("num_envs", "num_threads", "named"), [(0, 1, "num_envs is 0"), (1, -2, "num_threads is -2")]
)
def test_impossible_sizes_are_refused(num_envs: int, num_threads: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        BatchEnv(get_task("reach"), num_envs, num_threads)


def test_resetting_some_rows_leaves_the_others_alone() -> None:
    env = BatchEnv(get_task("button-press"), 4)
    env.seed(0)
    env.reset()
    env.step(np.ones((4, 4)))
    before = env.batch.state.copy()
    observation = env.reset(np.array([False, True, False, True]))
    assert observation.shape == (2, 26)
    np.testing.assert_array_equal(env.batch.state[[0, 2]], before[[0, 2]])
    assert env.elapsed.tolist() == [1, 0, 1, 0]


class AjarDrawer(DrawerOpen):
    """A drawer that starts a little open: what a task with its own joint starts looks like."""

    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the cabinet's place, the hand's and the opening."""
        return replace(super().sample(rng), qpos={"drawer/drawer": rng.uniform(0.02, 0.05)})


def test_a_task_can_start_its_joints_anywhere() -> None:
    env = BatchEnv(AjarDrawer(), 4)
    env.seed(0)
    env.reset()
    joint = env.state().joint
    assert ((joint > 0.02) & (joint < 0.05)).all()
    assert len(np.unique(joint)) == 4
    handle = env.batch.site("drawer/handle").xpos[:, 0]
    np.testing.assert_allclose(env.state().goal[:, 0] + OPEN, handle + joint, atol=1e-12)


def test_a_diverged_row_shows_what_it_last_was_and_not_what_mujoco_reset_it_to() -> None:
    env = BatchEnv(get_task("drawer-open"), 2)
    env.seed(0)
    env.reset()
    before = env.step(np.ones((2, 4))).observation
    nan_position(env, 1)
    after = env.step(np.ones((2, 4))).observation
    np.testing.assert_array_equal(after[1], before[1])
    assert not np.array_equal(after[0], before[0])


def test_a_diverged_row_leaves_no_file_of_mujoco(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = mujoco.MjLogConfig.get()
    config.logto_file = True  # as it is in a new process
    config.set()
    env = BatchEnv(get_task("reach"), 2)
    env.reset()
    nan_position(env, 0)
    assert env.step(np.zeros((2, env.task.action_dim))).diverged.tolist() == [True, False]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", ["button-press", "valve-crank"])
def test_a_restored_snapshot_goes_on_with_the_same_bits(task: str) -> None:
    env, other = BatchEnv(get_task(task), 3), BatchEnv(get_task(task), 3)
    for seed, e in enumerate((env, other)):
        e.seed(seed)
        e.reset()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (30, 3, env.task.action_dim))
    for action in actions[:10]:
        env.step(action)
    env.reset([1])  # rows at different times of their episodes
    shown = env.step(actions[10]).observation
    snapshot = env.snapshot()
    expected = [env.step(action) for action in actions[11:]]
    np.testing.assert_array_equal(other.restore(snapshot), shown)
    assert other.elapsed.tolist() == [11, 1, 11]
    for action, step in zip(actions[11:], expected, strict=True):
        found = other.step(action)
        for name, array in vars(step).items():
            np.testing.assert_array_equal(getattr(found, name), array)
    np.testing.assert_array_equal(snapshot["elapsed"], [11, 1, 11])  # a copy: steps leave it alone


def test_a_robot_that_does_not_tell_what_it_keeps_runs_but_is_not_copied() -> None:
    class OldArm(Arm):
        memory = Robot.memory

    class OldReach(Reach):
        def robot(self, batch: Any) -> Arm:
            return OldArm(batch, self)

    assert "memory" not in Robot.__abstractmethods__
    env = BatchEnv(OldReach(), 2)
    env.reset()
    env.step(np.zeros((2, env.task.action_dim)))
    with pytest.raises(UserError, match=r"OldArm has no memory\(\)"):
        copy.deepcopy(env)


def test_a_snapshot_of_another_task_or_size_is_refused() -> None:
    env = BatchEnv(get_task("reach"), 2)
    env.reset()
    snapshot = env.snapshot()
    for wrong in (
        BatchEnv(get_task("reach"), 3).snapshot(),
        BatchEnv(get_task("valve-tri"), 2).snapshot(),
        {name: array for name, array in snapshot.items() if name != "goal"},
    ):
        with pytest.raises(ValueError, match="2 environments of task reach take"):
            env.restore(wrong)
    np.testing.assert_array_equal(env.snapshot()["physics"], snapshot["physics"])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("threads, code", [(1, 0), (2, 2)])
def test_a_fork_does_not_wait_for_threads_that_are_not_in_it(threads: int, code: int) -> None:
    """One thread steps by itself; of several there is none in a fork, which is told."""
    env = BatchEnv(get_task("reach"), 2, threads)
    env.seed(0)
    env.reset()
    env.step(np.zeros((2, 4)))
    snapshot = env.snapshot()
    child = os.fork()
    if child == 0:
        refused = 0
        for go_on in (lambda: env.step(np.zeros((2, 4))), env.reset, lambda: env.restore(snapshot)):
            try:
                go_on()
            except RuntimeError as error:
                refused += "in a fork of the process that made them" in str(error)
        os._exit({0: 0, 3: 2}.get(refused, 1))
    end = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    assert os.waitstatus_to_exitcode(ended[1]) == code


class Told(Reach):
    """Reach, but for what a test replaces."""

    name = "told"


@pytest.mark.parametrize(
    ("attribute", "spoil", "told"),
    [
        ("reward_terms", lambda terms: dict.fromkeys(terms, 0.5), "is of shape (), not (3,)"),
        ("reward_terms", lambda terms: {n: t[:1] for n, t in terms.items()}, "of shape (1,)"),
        ("reward_terms", lambda terms: {**terms, "more": next(iter(terms.values()))}, "'more'"),
        ("reward_terms", lambda terms: {}, "reward_terms() tells []"),
        ("reward_terms", lambda terms: [1.0], "reward_terms() tells None"),
        ("success", lambda success: bool(success.any()), "of shape (), not (3,) of bool"),
        ("success", lambda success: success.astype(float), "not (3,) of bool"),
        ("success", lambda success: success[:, None], "of shape (3, 1)"),
    ],
)
def test_what_a_task_returns_for_each_row_is_checked_at_the_first_step(
    attribute: str, spoil: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = getattr(Reach, attribute)
    monkeypatch.setattr(Told, attribute, lambda self, state: spoil(own(self, state)), raising=False)
    env = BatchEnv(Told(), 3)
    env.reset()
    with pytest.raises(UserError, match="the task 'told': ") as caught:
        env.step(np.zeros((3, 4)))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("actions", "told"),
    [
        (np.zeros(4), "actions of shape (4,), not (3, 4)"),
        (np.zeros((1, 4)), "actions of shape (1, 4), not (3, 4)"),
        (np.full((3, 4), np.nan), "actions that are not finite"),
    ],
)
def test_what_an_expert_returns_is_checked(actions: np.ndarray, told: str) -> None:
    env = BatchEnv(Reach(), 3)
    env.reset()
    with pytest.raises(UserError, match="the expert of task 'reach': returns") as caught:
        choose(lambda state: actions, env)
    assert told in str(caught.value)
