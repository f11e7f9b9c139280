"""The batch as a ``gymnasium.vector.VectorEnv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from lifelong_rl.envs.batch_env import BatchEnv, Step
from lifelong_rl.envs.pixels import Observation, PixelOptions, make_observer, map_arrays, put, take
from lifelong_rl.envs.rendering import Renderer, check_render_mode
from lifelong_rl.envs.tasks import get_task

Mask = npt.NDArray[np.bool_]
Rewards = npt.NDArray[np.float64]


class TaskVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """`lifelong_rl.envs.batch_env.BatchEnv` behind Gymnasium's interface of vector environments.

    ``gymnasium.make_vec("LifelongRL/Reach-v0", 32)`` makes one. It acts as Gymnasium's own
    ``SyncVectorEnv`` of `lifelong_rl.envs.gym_env.TaskEnv` does with ``AutoresetMode.SAME_STEP``:
    the step that ends a row's episode returns the next episode's first observation, and has the
    last one in ``infos["final_obs"][row]`` and that step's info in ``infos["final_info"]``. For one
    seed the episodes are those of `lifelong_rl.envs.make_vec`, to the last bit. ``terminated`` is
    always false.

    Attributes:
        batch_env: the batch.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (as in the base class)
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        num_threads: int = 1,
        render_mode: str | None = None,
        camera: str = "front",
        width: int = 320,
        height: int = 240,
        observation: str = "state",
        **pixels: Unpack[PixelOptions],
    ) -> None:
        """Make the environments of one task.

        Args:
            task: the task's name.
            num_envs: number of environments, at least 1.
            num_threads: threads that step them; 0 takes every CPU.
            render_mode: None or ``"rgb_array"``.
            camera: what `render` shows, a name of the task's `cameras`.
            width: of those pictures, in pixels.
            height: of those pictures, in pixels.
            observation: ``"state"`` or ``"pixels"``.
            **pixels: how pixel observations look, see `lifelong_rl.envs.pixels.Pixels`.

        Raises:
            ValueError: if the task, the render mode, the observation or a camera is unknown, or a
                value is out of its range.
        """
        check_render_mode(render_mode)
        self.render_mode = render_mode
        found = get_task(task)
        self.metadata = {**self.metadata, "render_fps": found.control_hz}
        self.num_envs = num_envs
        self.batch_env = BatchEnv(found, num_envs, num_threads)
        self._observer = make_observer(
            self.batch_env, observation, np.zeros(0, np.float32), **pixels
        )
        self.single_observation_space = self._observer.space
        self.single_action_space = gymnasium.spaces.Box(-1.0, 1.0, (found.action_dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._camera, self._width, self._height = camera, width, height
        self._renderer: Renderer | None = None
        self._solved = np.zeros(num_envs, bool)
        self._observations: Observation | None = None

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Start episodes: the first ones of ``seed``, or the next if it is None.

        Args:
            seed: one for all rows, as `lifelong_rl.envs.make_vec` takes it; or one for each, whose
                episodes are those of a single environment with this seed.
            options: ``"reset_mask"``, (n,) bool, says which rows to reset (and to seed); all by
                default. Others go unused.

        Returns:
            The observations of all rows, and no infos.

        Raises:
            ValueError: if the mask, or the number of seeds, does not fit the environments.
            ResetNeeded: if only some rows are to be reset and not all ever were.
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        rows = np.flatnonzero(self._mask(options))
        if seed is not None:
            self.batch_env.seed(seed, rows)
        observations = self._observer.first(rows, self.batch_env.reset(rows))
        if len(rows) < self.num_envs:
            kept = self._last()
            put(kept, rows, observations)
            observations = kept
        self._solved[rows] = False
        return self._keep(observations), {}

    def step(
        self, actions: npt.ArrayLike
    ) -> tuple[Observation, Rewards, Mask, Mask, dict[str, Any]]:
        """Take one control step; rows whose episode ended are reset within it.

        Args:
            actions: (n, action_dim), in [-1, 1].

        Returns:
            Observations, rewards (n,), terminated (n,), which is always false, truncated (n,), and
            infos: of each key an array (n,) of all rows, and under ``_key`` which rows it is of.

        Raises:
            ValueError: if the actions have another shape or are not numbers.
            ResetNeeded: before the first reset.
        """
        self._last()
        step = self.batch_env.step(actions)
        self._solved |= step.success
        observations = self._observer.next(step)
        ended = step.truncated
        infos = self._infos(step, ~ended)
        if ended.any():
            rows = np.flatnonzero(ended)
            final = np.full(self.num_envs, None, object)
            for row in rows:
                final[row] = take(observations, row)
            of_last = self._infos(step, ended) | _of_rows(ended, {"is_success": self._solved})
            if step.diverged.any():
                of_last |= _of_rows(step.diverged, {"diverged": step.diverged})
            infos |= {"final_obs": final, "_final_obs": ended.copy()}
            infos |= {"final_info": of_last, "_final_info": ended.copy()}
            put(observations, rows, self._observer.first(rows, self.batch_env.reset(rows)))
            self._solved[rows] = False
        never = np.zeros(self.num_envs, bool)
        return self._keep(observations), step.reward, never, ended, infos

    def render(self) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """Return a picture of every row, (height, width, 3), or None without a render mode."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            self._renderer = Renderer(
                self.batch_env, camera=self._camera, width=self._width, height=self._height
            )
        return tuple(self._renderer.render(row) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the OpenGL contexts, if there are any."""
        self._observer.close()
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the OpenGL context: a copy opens its own when it first needs one."""
        return {**vars(self), "_renderer": None}

    def _mask(self, options: Mapping[str, Any] | None) -> Mask:
        """Return which rows are to be reset, (n,)."""
        if not options or "reset_mask" not in options:
            return np.ones(self.num_envs, bool)
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"reset_mask is {mask.dtype} of shape {mask.shape}; it must be bool of shape "
                f"({self.num_envs},) and true somewhere"
            )
        return mask

    def _keep(self, observations: Observation) -> Observation:
        """Return the observations, and keep a copy for a reset of some rows."""
        self._observations = map_arrays(np.copy, observations)
        return observations

    def _last(self) -> Observation:
        """Return what was last observed."""
        if self._observations is None:
            raise gymnasium.error.ResetNeeded("reset all environments first")
        return self._observations

    def _infos(self, step: Step, rows: Mask) -> dict[str, Any]:
        """Return what a step tells of the rows of a mask; nothing if there are none."""
        if not rows.any():
            return {}
        terms = dict(zip(self.batch_env.task.weights, step.terms.T, strict=True))
        return _of_rows(rows, {"success": step.success}) | {
            "reward_terms": _of_rows(rows, terms),
            "_reward_terms": rows.copy(),
        }


def _of_rows(rows: Mask, values: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Put values of some rows as Gymnasium's infos have them.

    Args:
        rows: which rows they are of, (n,).
        values: (n,) each.

    Returns:
        The values by name, 0 in the other rows, and the mask under ``_name``.
    """
    found: dict[str, Any] = {}
    for name, array in values.items():
        found[name] = np.where(rows, array, np.zeros_like(array))
        found[f"_{name}"] = rows.copy()
    return found
