"""Pictures, where this machine can make any."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest

import envs
from envs.batch_env import BatchEnv
from envs.rendering import Renderer, RenderingError
from envs.tasks import get_task


@pytest.fixture(scope="module")
def env() -> Iterator[BatchEnv]:
    """Two reaching arms, if they can be looked at."""
    env = BatchEnv(get_task("reach"), 2)
    env.seed(0)
    env.reset()
    try:
        Renderer(env, width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))
    yield env


def test_pictures_show_the_right_row_from_every_camera(env: BatchEnv) -> None:
    pictures = {}
    for camera in env.task.cameras:
        renderer = Renderer(env, camera=camera, width=96, height=64)
        pictures[camera] = [renderer.render(row) for row in (0, 1)]
        renderer.close()
        assert pictures[camera][0].shape == (64, 96, 3)
        assert pictures[camera][0].dtype == np.uint8
        assert pictures[camera][0].std() > 10
        assert not np.array_equal(pictures[camera][0], pictures[camera][1])
    assert not np.array_equal(pictures["front"][0], pictures["wrist"][0])


def test_goal_marker_follows_the_goal(env: BatchEnv) -> None:
    """The green ball is drawn where the row's goal is, and rendering changes nothing."""
    renderer = Renderer(env, width=320, height=240)
    before, state = env.robot.goal.copy(), env.batch.state.copy()
    env.robot.goal[0] = [0.5, 0.2, 0.1]
    left = renderer.render(0).astype(int)
    env.robot.goal[0] = [0.7, -0.1, 0.1]
    right = renderer.render(0).astype(int)
    env.robot.goal[:] = before
    renderer.close()
    np.testing.assert_array_equal(env.batch.state, state)
    columns = []
    for picture in (left, right):
        green = (picture[..., 1] > 1.5 * picture[..., 0]) & (
            picture[..., 1] > 1.5 * picture[..., 2]
        )
        assert 20 < green.sum() < 1000
        columns.append(np.flatnonzero(green.any(axis=0)).mean())
    assert columns[1] > columns[0] + 20


def test_gymnasium_and_vec_env_render(env: BatchEnv) -> None:
    single = gymnasium.make("LifelongRL/ButtonPress-v0", render_mode="rgb_array", width=64)
    single.reset(seed=0)
    picture = single.render()
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (240, 64, 3)
    single.close()
    vec = envs.make_vec("button-press", num_envs=2, seed=0, render_mode="rgb_array")
    vec.reset()
    images = vec.get_images()
    assert len(images) == 2
    assert isinstance(images[0], np.ndarray)
    assert isinstance(images[1], np.ndarray)
    assert not np.array_equal(images[0], images[1])
    vec.close()


def test_unknown_camera_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown camera 'top'; known: front, wrist"):
        Renderer(BatchEnv(get_task("reach"), 1), camera="top")


def test_without_a_renderer_everything_else_works() -> None:
    script = (
        "import envs\n"
        "from envs.rendering import RenderingError\n"
        "env = envs.make_vec('reach', num_envs=1, seed=0, render_mode='rgb_array')\n"
        "env.reset(); env.step([[0, 0, 0, 0]])\n"
        "try:\n"
        "    env.get_images()\n"
        "except RenderingError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "MUJOCO_GL": "disable"}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "cannot render: no OpenGL context" in result.stdout
