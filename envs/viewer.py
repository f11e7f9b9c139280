"""MuJoCo's viewer: a window in which an environment is watched while it runs."""

from __future__ import annotations

import copy
import importlib
import subprocess
import sys
from time import perf_counter, sleep

import mujoco

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import RenderingError, draw_markers

_PROBE = """
import sys, warnings
import glfw
with warnings.catch_warnings(record=True, action="always") as complaints:
    opened = glfw.init()
if not opened:
    sys.exit(str(complaints[0].message) if complaints else "GLFW cannot be initialised")
"""


class Viewer:
    """A window that shows row 0 of a batch; whoever looks can turn the camera and the view."""

    def __init__(self, env: BatchEnv) -> None:
        """Open the window.

        Args:
            env: the batch to look at.

        Raises:
            RenderingError: if no window can be opened here.
        """
        check_display()
        self._env = env
        self._model = copy.copy(env.batch.model)  # who looks may change it
        self._data = mujoco.MjData(self._model)
        launch = importlib.import_module("mujoco.viewer").launch_passive
        try:
            self._window = launch(self._model, self._data, show_left_ui=False, show_right_ui=False)
        except RuntimeError as error:  # such as macOS without mjpython
            raise RenderingError(f"cannot open a window: {error}") from error
        self._due = perf_counter()

    def show(self) -> None:
        """Show the current state, no sooner than a control step after the one before.

        A window that its user has closed stays closed.
        """
        if not self._window.is_running():
            return
        sleep(max(self._due - perf_counter(), 0.0))
        self._due = perf_counter() + 1.0 / self._env.task.control_hz
        with self._window.lock():
            self._env.batch.get_data(0, self._data)
            mujoco.mj_forward(self._model, self._data)
            self._window.user_scn.ngeom = 0
            draw_markers(self._window.user_scn, self._env.robot.markers(0))
        self._window.sync()

    def close(self) -> None:
        """Close the window; a second call does nothing."""
        self._window.close()


def check_display() -> None:
    """Raise a RenderingError unless a window can be opened here.

    Another process tries it: MuJoCo's viewer would wait without end for a window that fails to
    open.
    """
    try:
        subprocess.run(
            [sys.executable, "-P", "-c", _PROBE],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        reason = "the display does not answer within 60 s"
    else:
        return
    raise RenderingError(
        f"cannot open a window: {reason}; run where there is a display, or take the render mode "
        "'rgb_array'"
    )
