"""Pixel observations: their layout, episodes, determinism, and what other libraries think."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.preprocessing import (
    is_image_space,
    is_image_space_channels_first,
)

from lifelong_rl import envs
from lifelong_rl.envs import demonstrations
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.demonstrations import collect, film
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.pixels import PixelObserver, Pixels
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.sequences import ARM3, CLAW10, get_sequence
from lifelong_rl.envs.tasks import TASKS, get_task
from lifelong_rl.envs.vec_env import BatchVecEnv
from lifelong_rl.errors import UnknownNameError

BOTH = ("front", "wrist")
PICTURES: dict[str, Any] = {"observation": "pixels", "proprioception": False}
"""Pictures alone."""


@pytest.fixture(scope="module", autouse=True)
def renderer_needed() -> None:
    """Skip where no picture can be made."""
    env = BatchEnv(get_task("reach"), 1)
    try:
        Renderer(env, width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))


@pytest.fixture
def opened() -> Iterator[list[Any]]:
    """Environments to be closed."""
    made: list[Any] = []
    yield made
    for env in made:
        env.close()


def test_states_are_what_the_state_shows(opened: list[Any]) -> None:
    """Step by step, over the ends of episodes; also of several tasks side by side."""
    for make in (partial(ARM3.make_env, 1), ARM3.make_joint_env):
        for observation in ({}, {"observation": "pixels", "size": 16}):
            opened.append(make(num_envs=3, seed=5, **observation))
        shows, sees = opened[-2:]
        shown, _ = shows.reset(), sees.reset()
        np.testing.assert_array_equal(sees.states(), shown)
        np.testing.assert_array_equal(shows.states(), shown)
        for chosen in actions(get_task("drawer-open").horizon + 2, 3):
            shown, _ = shows.step(chosen)[0], sees.step(chosen)
            np.testing.assert_array_equal(sees.states(), shown)


def actions(steps: int, rows: int, dim: int = 4) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (steps, rows, dim))


def pictures(env: BatchVecEnv, size: int, cameras: tuple[str, ...]) -> np.ndarray:
    """What the cameras see now, (n, 3 * cameras, size, size), put together one by one."""
    rows = []
    for camera in cameras:
        renderer = Renderer(env.batch_env, camera=camera, width=size, height=size)
        rows.append([renderer.render(row).transpose(2, 0, 1) for row in range(env.num_envs)])
        renderer.close()
    return np.concatenate(rows, axis=1)


def test_channels_are_frames_then_cameras_then_colours(opened: list[Any]) -> None:
    env = envs.make_vec(
        "push", num_envs=2, seed=3, cameras=BOTH, size=32, frame_stack=3, **PICTURES
    )
    opened.append(env)
    space = env.observation_space
    assert space == gymnasium.spaces.Box(0, 255, (18, 32, 32), np.uint8)
    first = env.reset()
    frames = [pictures(env, 32, BOTH)]
    np.testing.assert_array_equal(first, np.concatenate(3 * frames, axis=1))
    for t, action in enumerate(actions(4, 2)):
        kept = first.copy()
        observation = env.step(action)[0]
        frames.append(pictures(env, 32, BOTH))
        shown = frames[max(0, t - 1) : t + 2]
        shown = (3 - len(shown)) * frames[:1] + shown
        np.testing.assert_array_equal(observation, np.concatenate(shown, axis=1))
        np.testing.assert_array_equal(first, kept)  # no memory is shared between steps
        first = observation
    assert not np.array_equal(frames[0], frames[-1])
    assert space.contains(observation[0])


def test_an_episodes_last_and_first_frames(opened: list[Any]) -> None:
    env = envs.make_vec("push", num_envs=2, seed=0, size=24, frame_stack=2, **PICTURES)
    opened.append(env)
    before = env.reset()
    for _ in range(TASKS["push"].horizon - 1):
        before, _, dones, _ = env.step(np.full((2, 4), 0.5))
        assert not dones.any()
    after, _, dones, infos = env.step(np.full((2, 4), -0.5))
    assert dones.all()
    first = pictures(env, 24, ("front",))
    np.testing.assert_array_equal(after, np.concatenate([first, first], axis=1))
    for row in range(2):
        last = infos[row]["terminal_observation"]
        assert env.observation_space.contains(last)
        np.testing.assert_array_equal(last[:3], before[row, 3:])
        assert not np.array_equal(last[3:], first[row])


def test_frames_depend_neither_on_rows_nor_on_threads(opened: list[Any]) -> None:
    options: dict[str, Any] = {**PICTURES, "cameras": BOTH, "size": 32}
    one = envs.make_vec("drawer-open", num_envs=1, seed=5, **options)
    three = envs.make_vec("drawer-open", num_envs=3, num_threads=2, seed=5, **options)
    single = gymnasium.make("LifelongRL/DrawerOpen-v0", **options)
    opened += [one, three, single]
    a, b, (c, _) = one.reset(), three.reset(), single.reset(seed=5)
    for action in actions(6, 3):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[0], c)
        a, b, c = one.step(action[:1])[0], three.step(action)[0], single.step(action[0])[0]
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[0], c)
    assert not np.array_equal(b[0], b[1])


@pytest.mark.parametrize(("task", "felt"), [("push", slice(0, 7)), ("valve-tri", None)])
def test_proprioception_is_the_robots_own_part(
    task: str, felt: slice | None, opened: list[Any]
) -> None:
    """And nothing of the object or the goal; it is there unless pictures alone are asked for."""
    env = envs.make_vec(task, num_envs=2, seed=1, observation="pixels", size=16)
    state = envs.make_vec(task, num_envs=2, seed=1)
    opened.append(env)
    columns = np.r_[felt] if felt else np.r_[0:9, 11:20]
    shown, whole = env.reset(), state.reset()
    action = np.full((2, TASKS[task].action_dim), 0.3)
    for _ in range(TASKS[task].horizon):
        assert list(shown) == ["pixels", "state"]
        np.testing.assert_array_equal(shown["state"], whole[:, columns])
        (shown, _, _, infos), (whole, _, _, others) = env.step(action), state.step(action)
    last = infos[1]["terminal_observation"]
    np.testing.assert_array_equal(last["state"], others[1]["terminal_observation"][columns])
    np.testing.assert_array_equal(shown["state"], whole[:, columns])  # of the next episode
    assert env.observation_space.contains(last)
    assert env.observation_space["state"].shape == (len(columns),)


def test_the_task_travels_in_the_state(opened: list[Any]) -> None:
    env = ARM3.make_env(1, num_envs=2, seed=0, size=16, **PICTURES)
    felt = ARM3.make_env(2, num_envs=2, seed=0, observation="pixels", size=16)
    opened += [env, felt]
    np.testing.assert_array_equal(env.reset()["state"], [[0, 1, 0]] * 2)
    shown = felt.reset()
    assert shown["state"].dtype == np.float32 and shown["state"].shape == (2, 10)
    np.testing.assert_array_equal(shown["state"][:, 7:], [[0, 0, 1]] * 2)
    assert env.step(np.zeros((2, 4)))[0]["state"].tolist() == [[0, 1, 0]] * 2


def test_tasks_side_by_side(opened: list[Any]) -> None:
    joint = ARM3.make_joint_env(num_envs=4, seed=0, size=16, **PICTURES)
    opened.append(joint)
    shown = joint.reset()
    assert shown["pixels"].shape == (4, 3, 16, 16)
    assert shown["state"].argmax(axis=1).tolist() == [0, 0, 1, 2]
    shown, _, _, _ = joint.step(np.zeros((4, 4)))
    assert shown["pixels"].shape == (4, 3, 16, 16)
    assert len({row.tobytes() for row in shown["pixels"]}) == 4


def test_a_diverged_row_keeps_its_last_frame(opened: list[Any]) -> None:
    env = envs.make_vec("push", num_envs=2, seed=0, size=24, **PICTURES)
    opened.append(env)
    before = env.reset()
    env.batch_env.batch.bind("qpos")[1, 0] = np.nan
    after, _, dones, infos = env.step(np.ones((2, 4)))
    assert dones.tolist() == [False, True]
    np.testing.assert_array_equal(infos[1]["terminal_observation"], before[1])
    assert not np.array_equal(after[1], before[1])
    assert not np.array_equal(after[0], before[0])


@pytest.mark.parametrize("proprioception", [False, True])
def test_checkers_have_nothing_to_say(proprioception: bool, opened: list[Any]) -> None:
    env = gymnasium.make(
        "LifelongRL/ValveTri-v0",
        render_mode="rgb_array",
        width=32,
        height=32,
        observation="pixels",
        frame_stack=2,
        proprioception=proprioception,
    )
    opened.append(env)
    env.unwrapped.metadata["render_modes"] = ["rgb_array"]  # of windows see test_viewer
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*different from the unwrapped version.*")
        check_env(env.unwrapped)
        sb3_check_env(env.unwrapped)
    images = env.observation_space["pixels"] if proprioception else env.observation_space
    assert is_image_space(images) and is_image_space_channels_first(images)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_offers_pixels(task: str) -> None:
    found = TASKS[task]
    env = envs.make_vec(
        task,
        num_envs=1,
        observation="pixels",
        cameras=tuple(found.cameras),
        frame_stack=2,
        proprioception=True,
    )
    assert env.observation_space["pixels"].shape == (3 * len(found.cameras) * 2, 64, 64)
    felt = [entry for name in found.proprioception for entry in range(50)[found.layout[name]]]
    assert env.observation_space["state"].shape == (len(felt),)
    assert len(found.cameras) >= 2


def test_bad_options() -> None:
    def make(**options: Any) -> None:
        envs.make_vec("push", num_envs=1, **{"observation": "pixels", **options})

    with pytest.raises(UnknownNameError, match="unknown camera 'frnt'; did you mean 'front'"):
        make(cameras=("wrist", "frnt"))
    with pytest.raises(UnknownNameError, match="unknown camera 'frnt'"):
        CLAW10.make_env(0, num_envs=1, observation="pixels", cameras="frnt")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="unknown observation 'pixel'; did you mean"):
        make(observation="pixel")
    with pytest.raises(ValueError, match="cameras, size: only with observation='pixels'"):
        make(observation="state", cameras=("front",), size=64)
    with pytest.raises(ValueError, match=r"cameras is \('front', 'front'\); name at least one"):
        make(cameras=("front", "front"))
    with pytest.raises(ValueError, match=r"cameras is \(\); name at least one"):
        make(cameras=())
    with pytest.raises(ValueError, match="size is 4; allowed: 8 to 512"):
        make(size=4)
    with pytest.raises(ValueError, match="frame_stack is 0; it must be at least 1"):
        make(frame_stack=0)
    with pytest.raises(TypeError, match="frame_skip"):
        make(frame_skip=2)


@pytest.mark.parametrize("stack", [1, 3])
def test_demonstrations_show_what_the_environment_would(stack: int, opened: list[Any]) -> None:
    """The same episodes and actions as without pictures, and the pictures that belong to them."""
    options: dict[str, Any] = {
        "observation": "pixels",
        "cameras": BOTH,
        "size": 16,
        "frame_stack": stack,
        "proprioception": True,
    }
    env = ARM3.make_env(1, num_envs=2, **options)
    opened.append(env)
    shown = env.demonstrations(2, seed=5, noise=0.3)
    state = ARM3.make_env(1, num_envs=2).demonstrations(2, seed=5, noise=0.3)
    assert set(shown) == {*state} - {"next_observations"}
    for name in ("actions", "expert_actions", "rewards", "dones"):
        np.testing.assert_array_equal(shown[name], state[name])
    horizon = TASKS["drawer-open"].horizon
    of_rows = {n: a.reshape(2, horizon, *a.shape[1:]) for n, a in shown["observations"].items()}
    taken = shown["actions"].reshape(2, horizon, -1)
    env.seed(5)
    observations = env.reset()
    for t in range(horizon):
        for name, rows in of_rows.items():
            np.testing.assert_array_equal(observations[name], rows[:, t])
        observations = env.step(taken[:, t])[0]
    assert shown["observations"]["pixels"].dtype == np.uint8


def test_films_of_more_episodes_than_rows_are_of_the_right_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demonstrations, "ROWS", 2)
    task, pixels = TASKS["reach"], Pixels(("front",), 16, proprioception=False)
    found = collect(task, get_expert("reach"), episodes=3, seed=1)
    frames = film(task, found, 1, pixels)
    env = BatchEnv(task, 2)
    env.seed(1)
    observer = PixelObserver(env, pixels, np.zeros(0, np.float32))
    starts = [observer.first(np.arange(2), env.reset()) for _ in range(2)]
    observer.close()
    np.testing.assert_array_equal(frames[:, 0], np.concatenate(starts)[:3])
    assert frames.shape == (3, 51, 3, 16, 16)


def test_a_film_stands_still_where_an_episode_ended_early() -> None:
    task, pixels = TASKS["reach"], Pixels(("front",), 16, proprioception=False)
    found = collect(task, get_expert("reach"), episodes=2, seed=1)
    whole = film(task, found, 1, pixels)
    short = film(task, replace(found, lengths=np.array([7, 50])), 1, pixels)
    np.testing.assert_array_equal(short[0, :8], whole[0, :8])
    np.testing.assert_array_equal(short[0, 8:], np.repeat(whole[0, 7:8], 43, axis=0))
    np.testing.assert_array_equal(short[1], whole[1])


def test_films_are_kept_by_what_they_show_and_frames_are_stacked_afterwards() -> None:
    asked: list[dict[str, Any]] = []

    def store(description: Any, make: Any) -> Any:
        asked.append(dict(description))
        return make()

    sequence = get_sequence("reach,reach").with_store(store)
    for stack in (1, 2):
        env = sequence.make_joint_env(num_envs=2, size=16, frame_stack=stack, **PICTURES)
        shown = env.demonstrations(1, seed=3)
        assert shown["observations"]["pixels"].shape == (100, 3 * stack, 16, 16)
        np.testing.assert_array_equal(shown["observations"]["state"].sum(axis=0), [50, 50])
        env.close()
    films = [each for each in asked if each["kind"] == "films"]
    assert len(films) == 4
    assert all(each == films[0] for each in films)
    assert (films[0]["cameras"], films[0]["size"], films[0]["seed"]) == (["front"], 16, 3)
    state = next(each for each in asked if each["kind"] == "demonstrations")
    assert {**films[0], "kind": "demonstrations"} == {**state, "cameras": ["front"], "size": 16}
