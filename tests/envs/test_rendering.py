"""Pictures, where this machine can make any."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from lifelong_rl import envs
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UnknownNameError


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


def test_across_camera_tells_what_the_front_cannot(env: BatchEnv) -> None:
    """A ball that moves along the front camera's line of sight moves in the across's picture."""
    renderer = Renderer(env, width=64, height=64)
    eye = env.batch.model.camera("front").pos
    near = np.array([0.6, -0.24, 0.2])
    before, places = env.robot.goal.copy(), []
    for goal in (near, near + 0.12 * (near - eye)):
        env.robot.goal[0] = goal
        pictures = renderer.render_rows([0], ["front", "across"])[0].astype(int)
        green = pictures[..., 1] > 1.5 * pictures[..., [0, 2]].max(axis=3)
        places.append([np.argwhere(seen).mean(axis=0) for seen in green])
    env.robot.goal[:] = before
    renderer.close()
    front, across = np.linalg.norm(np.subtract(*places), axis=1)
    assert front < 1.0
    assert across > 8.0


def test_unknown_camera_is_refused() -> None:
    reach = BatchEnv(get_task("reach"), 1)
    with pytest.raises(
        UnknownNameError, match=r"unknown camera 'top'; known: across, front, wrist$"
    ):
        Renderer(reach, camera="top")
    with pytest.raises(UnknownNameError, match=r"unknown camera 'fron'; did you mean 'front'\?$"):
        Renderer(reach, camera="fron")


def test_several_pictures_at_once_are_those_one_by_one(env: BatchEnv) -> None:
    renderer = Renderer(env, width=48, height=32)
    together = renderer.render_rows([1, 0, 1], ["wrist", "front"])
    assert together.shape == (3, 2, 32, 48, 3)
    np.testing.assert_array_equal(together[:, 1], [renderer.render(k) for k in (1, 0, 1)])
    renderer.close()
    wrist = Renderer(env, camera="wrist", width=48, height=32)
    np.testing.assert_array_equal(together[:, 0], [wrist.render(k) for k in (1, 0, 1)])
    wrist.close()


def test_closing_a_renderer_leaves_others_alone(env: BatchEnv) -> None:
    """What an OpenGL context owns has numbers that mean something else in another context."""
    stays = Renderer(env, width=64, height=48)
    before = stays.render()
    for _ in range(2):
        goes = Renderer(env, width=64, height=48)
        goes.render()
        stays.render()
        goes.close()
    np.testing.assert_array_equal(stays.render(), before)
    stays.close()


def test_opening_and_closing_leaves_nothing_behind(env: BatchEnv) -> None:
    def resident_megabytes() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc")
    sizes = []
    for _ in range(20):
        renderer = Renderer(env, width=64, height=64)
        renderer.render()
        renderer.close()
        sizes.append(resident_megabytes())
    assert sizes[-1] - sizes[4] < 5.0


def test_a_closed_renderer_and_one_of_another_thread_are_refused(env: BatchEnv) -> None:
    renderer = Renderer(env, width=16, height=16)
    with ThreadPoolExecutor(1) as other:
        for action in (renderer.render, renderer.close):
            with pytest.raises(RenderingError, match="only in the thread that opened it"):
                other.submit(action).result()
        own = other.submit(Renderer, env, width=16, height=16).result()
        picture = other.submit(own.render).result()
        other.submit(own.close).result()
    np.testing.assert_array_equal(renderer.render(), picture)
    renderer.close()
    renderer.close()
    with pytest.raises(RenderingError, match="the renderer is closed"):
        renderer.render()


def test_leaving_without_closing_is_quiet(env: BatchEnv) -> None:
    script = (
        "import weakref\n"
        "class Early: pass\n"
        "early = Early()\n"
        "weakref.finalize(early, str)\n"  # finalizers now run after MuJoCo has shut EGL down
        "from lifelong_rl import envs\n"
        "vec = envs.make_vec('reach', num_envs=1, observation='pixels', render_mode='rgb_array')\n"
        "vec.reset(); vec.get_images()\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("", "")


WRONG = {
    "disable": ({"MUJOCO_GL": "disable"}, "with disable: .*; set MUJOCO_GL=egl, which needs no d"),
    "glfw": ({"MUJOCO_GL": "glfw"}, "with glfw: .*DISPLAY.*; set MUJOCO_GL=egl, which needs no d"),
    "device": (
        {"MUJOCO_GL": "egl", "MUJOCO_EGL_DEVICE_ID": "99"},
        "with egl: .*; set MUJOCO_EGL_DEVICE_ID, which is '99', to a device, or unset it$",
    ),
}


@pytest.mark.parametrize("setting", WRONG)
def test_without_a_renderer_everything_else_works(setting: str) -> None:
    """The error names what is wrong and what to do."""
    script = (
        "from lifelong_rl import envs\n"
        "from lifelong_rl.envs.rendering import RenderingError\n"
        "env = envs.make_vec('reach', num_envs=1, seed=0, render_mode='rgb_array')\n"
        "env.reset(); env.step([[0, 0, 0, 0]])\n"
        "try:\n"
        "    env.get_images()\n"
        "except RenderingError as error:\n"
        "    print(error)\n"
        "pixels = envs.make_vec('reach', num_envs=1, observation='pixels')\n"
        "try:\n"
        "    pixels.reset()\n"
        "except RenderingError as error:\n"
        "    print(error)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    variables, expected = WRONG[setting]
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    assert len(lines) == 2 and lines[0] == lines[1]
    assert re.search(f"^cannot render: no OpenGL context {expected}", lines[0])
    assert result.stderr == ""


def test_a_backend_that_cannot_be_imported_is_named() -> None:
    script = "from lifelong_rl.cli import main; import sys; sys.exit(main(['run', '--seed', '1']))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MUJOCO_GL": "nonsense"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "MuJoCo cannot be imported with MUJOCO_GL=nonsense: invalid value" in line
    assert line.endswith("set MUJOCO_GL=egl, or another that this machine has")


FORK = """
import os, signal, sys, time
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task

env = BatchEnv(get_task("reach"), 1)
env.seed(0)
env.reset()
renderer = Renderer(env, width=16, height=16)
before = renderer.render().tolist()
child = os.fork()
if child == 0:
    told = []
    for render in (renderer.render, lambda: Renderer(env, width=16, height=16).render()):
        try:
            render()
        except RenderingError as error:
            told.append(str(error))
    renderer.close()
    print("\\n".join(told), flush=True)
    sys.exit()
end = time.monotonic() + 60
while time.monotonic() < end:
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        break
    time.sleep(0.05)
else:
    os.kill(child, signal.SIGKILL)
    sys.exit("the fork waits without end")
assert status == 0
assert renderer.render().tolist() == before
"""


def test_a_fork_does_not_wait_for_threads_that_are_not_in_it(env: BatchEnv) -> None:
    """Neither to render nor to leave; and its parent renders as before."""
    result = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first == second
    assert first.startswith("cannot render in a fork of a process that has rendered")
    assert "multiprocessing's 'spawn'" in first
