"""Copies and pickles of environments go on as the originals would, to the last bit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from lifelong_rl import envs
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.sequences import get_sequence
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.envs.vec_env import BatchVecEnv, JointVecEnv
from lifelong_rl.storage.state_tree import decode_tree, encode_tree


def through_state(env: Any) -> Any:
    """Other environments of the kind, which have been elsewhere, in the state of these."""
    other = copy.deepcopy(env)
    other.seed(99)
    other.reset()
    for _ in range(7):
        other.step(np.full((other.num_envs, *_action_shape(other)), 0.5))
    other.load_state_dict(decode_tree(*encode_tree(env.state_dict())))
    return other


def _action_shape(env: Any) -> tuple[int, ...]:
    return (env.task.action_dim,) if isinstance(env, BatchEnv) else env.action_space.shape


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),
}
both = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
STATES = {**COPIES, "state_dict": through_state}
and_states = pytest.mark.parametrize("copied", STATES.values(), ids=STATES)


def assert_same(found: Any, expected: Any) -> None:
    """Compare nested observations, rewards, dones and infos bit for bit."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same(found[name], expected[name])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(found, expected)


@and_states
@pytest.mark.parametrize("task", ["push", "valve-crank"])
def test_a_copy_of_a_batch_goes_on_with_the_same_bits(
    copied: Callable[[Any], Any], task: str
) -> None:
    env = BatchEnv(get_task(task), 3, num_threads=2)
    env.seed(4)
    env.reset()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (40, 3, env.task.action_dim))
    for action in actions[:15]:
        env.step(action)
    env.reset([1])
    for action in actions[15:20]:
        env.step(action)
    env.num_diverged = 2
    other = copied(env)
    assert (other.num_envs, other.num_diverged, other.elapsed.tolist()) == (3, 2, [20, 5, 20])
    assert other.batch is not env.batch
    for action in actions[20:]:
        assert_same(vars(other.step(action)), vars(env.step(action)))
    assert_same(other.reset(), env.reset())
    env.step(actions[0])
    assert other.elapsed.tolist() == [0, 0, 0]  # neither steps the other


def test_a_copy_finds_out_that_its_simulation_diverges() -> None:
    env = BatchEnv(get_task("drawer-open"), 2)
    env.seed(0)
    env.reset()
    env.step(np.ones((2, 4)))
    other = copy.deepcopy(env)
    for each in (env, other):
        each.batch.bind("qpos")[1] = np.nan
    step = other.step(np.ones((2, 4)))
    assert step.diverged.tolist() == [False, True]
    assert_same(vars(step), vars(env.step(np.ones((2, 4)))))
    assert other.num_diverged == 1


def assert_rows_go_on(env: Any, other: Any, steps: int) -> None:
    """Step both with the same actions; some episode ends on the way."""
    rng, ended = np.random.default_rng(1), 0
    for _ in range(steps):
        action = rng.uniform(-1, 1, (env.num_envs, *env.action_space.shape))
        expected = env.step(action)
        assert_same(other.step(action), expected)
        ended += int(expected[2].sum())
    assert ended >= env.num_envs


def started(env: Any, steps: int = 30) -> Any:
    """Begin episodes of one seed and take some steps."""
    env.seed(7)
    env.reset()
    rng = np.random.default_rng(0)
    for _ in range(steps):
        env.step(rng.uniform(-1, 1, (env.num_envs, *env.action_space.shape)))
    return env


@and_states
def test_a_copy_of_many_environments_goes_on_over_the_end_of_episodes(
    copied: Callable[[Any], Any],
) -> None:
    env = started(BatchVecEnv(BatchEnv(get_task("reach"), 2), one_hot=(1, 3)))
    assert_rows_go_on(env, copied(env), steps=env.batch_env.task.horizon)


@and_states
def test_a_copy_of_several_tasks_side_by_side_goes_on(copied: Callable[[Any], Any]) -> None:
    parts = [
        BatchVecEnv(BatchEnv(get_task(name), 2), one_hot=(k, 2))
        for k, name in enumerate(("reach", "push"))
    ]
    env = started(JointVecEnv(parts))
    horizon = max(part.batch_env.task.horizon for part in parts)
    assert_rows_go_on(env, copied(env), steps=horizon)


def test_the_environments_of_a_sequence_can_be_copied() -> None:
    env = get_sequence("reach,push").make_env(0, num_envs=2, num_threads=1, seed=3)
    env.reset()
    other = pickle.loads(pickle.dumps(env))
    assert_rows_go_on(env, other, steps=env.batch_env.task.horizon)


@pytest.mark.parametrize("copied", [copy.deepcopy, through_state])
def test_a_seed_that_waits_for_the_reset_is_copied(copied: Callable[[Any], Any]) -> None:
    env = envs.make_vec("reach", num_envs=2, seed=5)
    assert_same(copied(env).reset(), env.reset())


@both
@pytest.mark.parametrize("name", ["LifelongRL/Reach-v0", "LifelongRL/ValveTri-v0"])
def test_a_copy_of_a_single_environment_goes_on_with_its_wrappers(
    copied: Callable[[Any], Any], name: str
) -> None:
    env = gymnasium.wrappers.RecordEpisodeStatistics(gymnasium.make(name))
    env.reset(seed=3)
    env.action_space.seed(3)
    for _ in range(10):
        env.step(env.action_space.sample())
    other = copied(env)
    assert other.spec is not None and other.spec.id == name
    ended = False
    while not ended:
        action = env.action_space.sample()
        np.testing.assert_array_equal(other.action_space.sample(), action)
        expected = env.step(action)
        found = other.step(action)
        ended = expected[3]
        if ended:
            for info in (expected[4], found[4]):
                del info["episode"]["t"]  # seconds
        assert_same(found, expected)
    assert_same(other.reset(), env.reset())


@and_states
def test_a_copy_renders_with_a_context_of_its_own(copied: Callable[[Any], Any]) -> None:
    options: dict[str, Any] = {"cameras": ("front", "wrist"), "size": 16, "frame_stack": 2}
    env = envs.make_vec(
        "reach", num_envs=2, seed=1, render_mode="rgb_array", observation="pixels",
        proprioception=True, **options,
    )  # fmt: skip
    env.reset()
    env.step(np.ones((2, 4)))
    shown = env.get_images()
    other = copied(env)
    assert_same(other.get_images(), shown)
    env.close()  # frees its own contexts, not the copy's
    for _ in range(3):
        expected, found = env.step(-np.ones((2, 4))), other.step(-np.ones((2, 4)))
        assert_same(found, expected)
    env.close()
    other.close()


@both
def test_a_copy_of_a_single_environment_renders(copied: Callable[[Any], Any]) -> None:
    env = gymnasium.make("LifelongRL/Push-v0", render_mode="rgb_array", width=32, height=24)
    env.reset(seed=0)
    picture = env.render()
    other = copied(env)
    np.testing.assert_array_equal(other.render(), picture)
    env.close()
    other.close()
