"""The window: what is shown in it, and what is said where there is none."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from lifelong_rl.envs import viewer
from lifelong_rl.envs.rendering import RenderingError

REACH = "LifelongRL/Reach-v0"


class Window:
    """Stands for MuJoCo's passive viewer, and writes down what it is to show."""

    opened: list[Window]

    def __init__(self, model: Any, data: Any, **panels: bool) -> None:
        self.model, self.data = model, data
        self.user_scn = mujoco.MjvScene(model, 10)
        self.shown: list[tuple[np.ndarray, np.ndarray]] = []
        self.is_open = True
        Window.opened.append(self)

    def is_running(self) -> bool:
        return self.is_open

    def lock(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def sync(self) -> None:
        hand = self.data.site("arm/hand").xpos.copy()
        (goal,) = [geom.pos.copy() for geom in self.user_scn.geoms[: self.user_scn.ngeom]]
        self.shown.append((hand, goal))

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Windows that are pretended, and for how long they had to be waited for."""
    slept: list[float] = []
    Window.opened = []
    monkeypatch.setattr("mujoco.viewer.launch_passive", Window)
    monkeypatch.setattr(viewer, "check_display", lambda: None)
    monkeypatch.setattr("lifelong_rl.envs.gym_env.check_display", lambda: None)
    monkeypatch.setattr(viewer, "sleep", slept.append)
    monkeypatch.setattr(viewer, "perf_counter", lambda: 5.0)
    return slept


def test_every_state_is_shown_in_the_time_of_the_simulated_world(waited: list[float]) -> None:
    env = gymnasium.make(REACH, render_mode="human").unwrapped
    plain = gymnasium.make(REACH).unwrapped
    observations = [env.reset(seed=0)[0], plain.reset(seed=0)[0]]
    np.testing.assert_array_equal(*observations)
    (window,) = Window.opened
    expected = []
    for _ in range(4):
        expected.append((plain.batch_env.state().hand[0], plain.batch_env.robot.goal[0].copy()))
        action = np.array([0.5, -0.5, 0.2, 0.0], np.float32)
        for mine, theirs in zip(env.step(action)[:4], plain.step(action)[:4], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert len(window.shown) == 5
    for shown, (hand, goal) in zip(window.shown, expected, strict=False):
        np.testing.assert_allclose(shown, (hand, goal), atol=1e-6)
    assert env.render() is None
    assert waited[0] == 0 and waited[1:] == pytest.approx([1 / env.metadata["render_fps"]] * 4)
    window.model.opt.gravity[:] = 0  # who looks may turn knobs, of the model that is shown
    assert env.batch_env.batch.model.opt.gravity[2] != 0
    env.close()
    assert not window.is_open


def test_a_window_that_is_closed_stays_closed_and_the_episode_goes_on(waited: list[float]) -> None:
    env = gymnasium.make(REACH, render_mode="human")
    env.reset(seed=0)
    (window,) = Window.opened
    window.close()
    env.step(np.zeros(4, np.float32))
    assert len(window.shown) == 1 and len(waited) == 1 and Window.opened == [window]
    twin = copy.deepcopy(env.unwrapped)
    twin.step(np.zeros(4, np.float32))
    assert len(Window.opened) == 2


def test_gymnasiums_checker_has_nothing_to_say_about_windows(waited: list[float]) -> None:
    env = gymnasium.make(REACH, render_mode="human").unwrapped
    env.metadata["render_modes"] = ["human"]
    check_env(env)
    env.close()
    assert len(Window.opened) >= 2 and not any(window.is_open for window in Window.opened)


def test_without_a_display_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(RenderingError) as error:
        gymnasium.make(REACH, render_mode="human")
    line = str(error.value)
    assert line.startswith("cannot open a window: ") and "\n" not in line
    assert "DISPLAY" in line
    assert line.endswith("run where there is a display, or take the render mode 'rgb_array'")


def test_a_viewer_that_cannot_be_opened_is_told_of(
    waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise RuntimeError("run under `mjpython` on macOS")

    monkeypatch.setattr("mujoco.viewer.launch_passive", refuse)
    env = gymnasium.make(REACH, render_mode="human")
    with pytest.raises(RenderingError, match="cannot open a window: run under `mjpython`"):
        env.reset()
