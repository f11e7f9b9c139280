"""A single environment: the batch of size one as a ``gymnasium.Env``."""

from __future__ import annotations

from typing import Any, Unpack

import gymnasium
import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.pixels import Observation, PixelOptions, make_observer, map_arrays
from lifelong_rl.envs.rendering import Renderer, check_render_mode
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.envs.viewer import Viewer, check_display

Action = npt.NDArray[np.float32]


class TaskEnv(gymnasium.Env[Any, Action]):
    """One task; its manual is the docstring of the task's class in `lifelong_rl.envs.tasks`.

    ``info`` holds
    ``success`` (of the current state) and ``reward_terms``; at the end of an episode also
    ``is_success`` (whether any state of the episode was a success) and, where the simulation
    diverged, ``diverged``; return and length come from the usual wrappers
    (``RecordEpisodeStatistics``, ``Monitor``). For one seed, the episodes are those of row 0 of
    `lifelong_rl.envs.make_vec`.

    With the render mode ``"human"``, MuJoCo's viewer shows every step, in the time of the simulated
    world; it closes with the environment.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012 (as in the base class)

    def __init__(
        self,
        task: str,
        render_mode: str | None = None,
        camera: str = "front",
        width: int = 320,
        height: int = 240,
        observation: str = "state",
        **pixels: Unpack[PixelOptions],
    ) -> None:
        """Make the environment of one task.

        Args:
            task: the task's name.
            render_mode: None, ``"rgb_array"`` or ``"human"``.
            camera: what `render` returns pictures of, a name of the task's `cameras`.
            width: of those pictures, in pixels.
            height: of those pictures, in pixels.
            observation: ``"state"`` or ``"pixels"``.
            **pixels: how pixel observations look, see `lifelong_rl.envs.pixels.Pixels`.

        Raises:
            ValueError: if the task, the render mode, the observation or a camera is unknown, or a
                value is out of its range.
            RenderingError: if a window is asked for and cannot be opened here.
        """
        check_render_mode(render_mode, self.metadata["render_modes"])
        if render_mode == "human":
            check_display()
        self.render_mode = render_mode
        found = get_task(task)
        self.metadata = {**self.metadata, "render_fps": found.control_hz}
        self.batch_env = BatchEnv(found, num_envs=1)
        self._observer = make_observer(
            self.batch_env, observation, np.zeros(0, np.float32), **pixels
        )
        self.observation_space = self._observer.space
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (found.action_dim,), np.float32)
        self._camera, self._width, self._height = camera, width, height
        self._renderer: Renderer | None = None
        self._viewer: Viewer | None = None
        self._solved = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode: the first one of ``seed``, or the next if it is None."""
        super().reset(seed=seed)
        if seed is not None:
            self.batch_env.seed(seed)
        self._solved = False
        observation = self._only(self._observer.first(np.arange(1), self.batch_env.reset()))
        if self.render_mode == "human":
            self._show()
        return observation, {}

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Take one control step; ``terminated`` is always false."""
        step = self.batch_env.step(np.asarray(action)[None])
        success = bool(step.success[0])
        self._solved |= success
        info: dict[str, Any] = {
            "success": success,
            "reward_terms": dict(
                zip(self.batch_env.task.weights, step.terms[0].tolist(), strict=True)
            ),
        }
        truncated = bool(step.truncated[0])
        if truncated:
            info["is_success"] = self._solved
        if step.diverged[0]:
            info["diverged"] = True
        observation = self._only(self._observer.next(step))
        if self.render_mode == "human":
            self._show()
        return observation, float(step.reward[0]), False, truncated, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture, (height, width, 3); None unless the render mode asks for pictures."""
        if self.render_mode != "rgb_array":
            return None
        if self._renderer is None:
            self._renderer = Renderer(
                self.batch_env, camera=self._camera, width=self._width, height=self._height
            )
        return self._renderer.render()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out OpenGL context and window: a copy opens its own when it first needs one."""
        return {**vars(self), "_renderer": None, "_viewer": None}

    def close(self) -> None:
        """Free the OpenGL contexts and close the window, if there are any."""
        self._observer.close()
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None

    def _show(self) -> None:
        """Show the current state in the window, which opens the first time."""
        if self._viewer is None:
            self._viewer = Viewer(self.batch_env)
        self._viewer.show()

    @staticmethod
    def _only(observation: Observation) -> Observation:
        """Return the one row there is."""
        return map_arrays(lambda array: array[0], observation)
