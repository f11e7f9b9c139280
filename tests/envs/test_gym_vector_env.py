"""Gymnasium's own interface of the batch: as its other vector environments, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers.vector import DictInfoToList, NormalizeReward, RecordEpisodeStatistics

from lifelong_rl import envs
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.gym_vector_env import TaskVectorEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task

REACH = "LifelongRL/Reach-v0"
HORIZON = 50


def make(num_envs: int, **options: Any) -> TaskVectorEnv:
    env = gymnasium.make_vec(REACH, num_envs, vectorization_mode="vector_entry_point", **options)
    assert isinstance(env, TaskVectorEnv)
    return env


def actions(seed: int, steps: int, num_envs: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    return (rng.uniform(-1, 1, (num_envs, 4)).astype(np.float32) for _ in range(steps))


def same(one: Any, other: Any) -> None:
    """Two infos hold the same keys and the same values of the same types."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    else:
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_it_is_what_gymnasium_makes_by_default_and_says_how_it_resets() -> None:
    env = gymnasium.make_vec(REACH, 32)
    assert isinstance(env, TaskVectorEnv) and env.num_envs == 32
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.metadata["render_fps"] == get_task("reach").control_hz
    single = gymnasium.make(REACH)
    assert env.single_observation_space == single.observation_space
    assert env.single_action_space == single.action_space
    assert env.observation_space == batch_space(single.observation_space, 32)
    assert env.action_space == batch_space(single.action_space, 32)
    assert env.spec is not None and env.spec.id == REACH
    again = gymnasium.make_vec(env.spec)
    assert again.num_envs == 32
    np.testing.assert_array_equal(again.reset(seed=1)[0], env.reset(seed=1)[0])
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])


def test_the_episodes_are_those_of_the_batch_for_stable_baselines3() -> None:
    env, twin = make(3), envs.make_vec("reach", num_envs=3, seed=7)
    observations, infos = env.reset(seed=7)
    assert infos == {}
    np.testing.assert_array_equal(observations, twin.reset())
    for action in actions(0, 2 * HORIZON + 3, 3):
        observations, rewards, terminated, truncated, infos = env.step(action)
        expected, of_twin, dones, rows = twin.step(action)
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_array_equal(rewards.astype(np.float32), of_twin)
        np.testing.assert_array_equal(truncated, dones)
        assert not terminated.any()
        shown = infos["final_info"] if dones.any() else infos
        for row, info in enumerate(rows):
            assert shown["success"][row] == info["success"]
            for name, value in info["reward_terms"].items():
                assert shown["reward_terms"][name][row] == value
            if dones.any():
                last = info["terminal_observation"]
                np.testing.assert_array_equal(infos["final_obs"][row], last)
                assert shown["is_success"][row] == info["is_success"]


def test_it_acts_as_gymnasiums_own_environments_that_reset_in_the_same_step() -> None:
    """Also where some rows are reset before the others, and where a simulation diverges."""
    seeds = [5, 0, 11]
    env = make(3)
    sync = SyncVectorEnv(
        [lambda: gymnasium.make(REACH) for _ in seeds], autoreset_mode=AutoresetMode.SAME_STEP
    )

    def compare(one: Any, other: Any) -> None:
        for mine, theirs in zip(one, other, strict=True):
            if isinstance(mine, dict):
                assert ("final_obs" in mine) == ("final_obs" in theirs)
                for row, last in enumerate(mine.pop("final_obs", ())):
                    assert (last is None) == (theirs["final_obs"][row] is None)
                    if last is not None:
                        np.testing.assert_array_equal(last, theirs["final_obs"][row])
                theirs.pop("final_obs", None)
            same(mine, theirs)

    def diverge() -> None:
        env.batch_env.batch.state[1, 5] = np.nan
        for each in sync.envs[1:2]:
            each.unwrapped.batch_env.batch.state[0, 5] = np.nan

    compare(env.reset(seed=seeds), sync.reset(seed=seeds))
    some = np.array([True, False, True])
    ends = np.zeros(3, int)
    for step, action in enumerate(actions(1, 2 * HORIZON, 3)):
        if step == 20:
            compare(
                env.reset(seed=[None, 4, 3], options={"reset_mask": some}),
                sync.reset(seed=[None, 4, 3], options={"reset_mask": some}),
            )
        if step == 30:
            diverge()
        ours = env.step(action)
        ends += ours[3]
        compare(ours, sync.step(action))
    assert ends.tolist() == [1, 2, 1]
    assert env.batch_env.num_diverged == 1


def test_a_partial_reset_leaves_the_other_rows_alone() -> None:
    env, whole = make(3), make(3)
    env.reset(seed=2), whole.reset(seed=2)
    for action in actions(2, 5, 3):
        before = env.step(action)[0]
        whole.step(action)
    given = before.copy()
    before[:] = 0  # what was returned is the caller's
    observations, _ = env.reset(seed=9, options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(observations[[0, 2]], given[[0, 2]])
    np.testing.assert_array_equal(observations[1], make(3).reset(seed=9)[0][1])
    action = np.full((3, 4), 0.2)
    np.testing.assert_array_equal(env.step(action)[0][[0, 2]], whole.step(action)[0][[0, 2]])


def test_a_success_before_a_reset_is_not_one_of_the_next_episode() -> None:
    env = make(2)
    env.reset(seed=0)
    solved = np.zeros(2, bool)
    for _ in range(HORIZON - 1):
        action = get_expert("reach")(env.batch_env.state())
        solved |= env.step(action.astype(np.float32))[4]["success"]
    assert solved.all()
    env.reset(seed=0, options={"reset_mask": np.array([True, False])})
    away = np.tile(np.float32([-1, -1, 1, 0]), (2, 1))
    final = env.step(away)[4]["final_info"]
    assert final["is_success"][1] and final["_is_success"].tolist() == [False, True]
    for _ in range(HORIZON - 1):
        final = env.step(away)[4].get("final_info")
    assert final is not None
    assert not final["is_success"][0] and final["_is_success"].tolist() == [True, False]


def test_without_a_seed_the_generators_go_on() -> None:
    env, twin = make(2), envs.make_vec("reach", num_envs=2, seed=3)
    env.reset(seed=3), twin.reset()
    np.testing.assert_array_equal(env.reset()[0], twin.reset())


@pytest.mark.parametrize(
    "mask",
    [np.array([True]), np.array([0, 1]), np.zeros(2, bool), [[True, False]]],
)
def test_a_mask_that_does_not_fit_is_refused(mask: Any) -> None:
    env = make(2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="it must be bool of shape \\(2,\\) and true somewhere"):
        env.reset(options={"reset_mask": mask})


def test_other_misuse_is_refused() -> None:
    env = make(2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros((2, 4)))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match="3 seeds are given for 2 environments"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="unknown render_mode 'human'; allowed: None, 'rgb_arr"):
        make(2, render_mode="human")


def test_gymnasiums_wrappers_work_on_it() -> None:
    env = RecordEpisodeStatistics(NormalizeReward(make(4)))
    plain, listed = RecordEpisodeStatistics(make(4)), DictInfoToList(make(4))
    twin = envs.make_vec("reach", num_envs=4, seed=1)
    for each in (env, plain, listed):
        each.reset(seed=1)
    twin.reset()
    for action in actions(3, 2 * HORIZON, 4):
        normalised, (_, rewards, _, _, infos) = env.step(action)[1], plain.step(action)
        rows = listed.step(action)[4]
        expected = twin.step(action)[3]
        for row in range(4):
            if "_episode" in infos:
                episode = expected[row]["episode"]
                assert infos["episode"]["r"][row] == episode["r"]
                assert infos["episode"]["l"][row] == episode["l"] == HORIZON
                assert rows[row]["final_info"]["is_success"] == episode["success"]
            else:
                assert rows[row]["success"] == expected[row]["success"]
    assert plain.episode_count == 8
    assert len(np.unique(normalised / rewards)) > 0 and not np.array_equal(normalised, rewards)
    np.testing.assert_allclose(normalised / rewards, (normalised / rewards)[0], rtol=1e-12)


def test_a_copy_goes_on_alike() -> None:
    env = make(2)
    env.reset(seed=6)
    env.step(np.full((2, 4), 0.1))
    twin = copy.deepcopy(env)
    for action in actions(4, HORIZON + 2, 2):
        for mine, theirs in zip(env.step(action)[:4], twin.step(action)[:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_pictures() -> None:
    try:
        Renderer(BatchEnv(get_task("reach"), 1), width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))
    look = {"render_mode": "rgb_array", "width": 32, "height": 24}
    env = make(2, observation="pixels", size=16, **look)
    twin = envs.make_vec("reach", num_envs=2, seed=0, observation="pixels", size=16)
    expected, (observations, _) = twin.reset(), env.reset(seed=0)
    for action in actions(5, HORIZON, 2):
        expected, _, _, rows = twin.step(action)
        observations, _, _, _, infos = env.step(action)
    for name in ("pixels", "state"):
        np.testing.assert_array_equal(observations[name], expected[name])
        for row in range(2):
            last = infos["final_obs"][row][name]
            np.testing.assert_array_equal(last, rows[row]["terminal_observation"][name])
    assert env.observation_space.contains(observations)
    pictures = env.render()
    assert pictures is not None and [each.shape for each in pictures] == [(24, 32, 3)] * 2
    assert not np.array_equal(*pictures)
    env.close()
    twin.close()
