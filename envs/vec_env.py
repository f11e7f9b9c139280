"""The batch as a Stable-Baselines3 ``VecEnv``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices

from envs.batch_env import BatchEnv
from envs.rendering import Renderer, check_render_mode
from envs.robot import LIMIT

StepReturn = tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]
"""Observations (n, obs_dim) and rewards (n,) float32, dones (n,) bool, and an info per row."""


class BatchVecEnv(VecEnv):
    """`envs.batch_env.BatchEnv` behind Stable-Baselines3's interface.

    Every step's ``info`` of a row holds

    - ``success``: whether the current state solves the task,
    - ``reward_terms``: the weighted terms by name; the reward is their sum,

    and at the end of an episode also

    - ``episode``: return ``r``, length ``l``, and ``success``: whether *any* state of the episode
      solved the task, the convention of Meta-World and Continual World,
    - ``is_success``: the same, under the name Stable-Baselines3 logs,
    - ``terminal_observation`` and ``TimeLimit.truncated`` (always true: episodes are only ever
      truncated),
    - ``diverged``: true, only where a diverging simulation ended the episode.

    ``seed(s)`` followed by ``reset()`` starts the same episodes every time; a plain ``reset()``
    goes on with each row's generator.
    """

    def __init__(
        self,
        env: BatchEnv,
        one_hot: tuple[int, int] | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Wrap a batch.

        Args:
            env: the batch; the adapter owns it from here on.
            one_hot: (task id, number of tasks) of the one-hot appended to every observation;
                None appends nothing.
            render_mode: None or ``"rgb_array"``.

        Raises:
            ValueError: if the render mode is another.
        """
        check_render_mode(render_mode)
        self.batch_env = env
        self.render_mode = render_mode
        task_id, num_tasks = one_hot or (0, 0)
        self._tail = np.zeros((env.num_envs, num_tasks), np.float32)
        self._tail[:, task_id : task_id + 1] = 1.0
        self._term_names = tuple(env.task.weights)
        self._returns = np.zeros(env.num_envs)
        self._solved = np.zeros(env.num_envs, bool)
        self._actions: npt.ArrayLike = np.zeros((env.num_envs, env.task.action_dim))
        self._renderer: Renderer | None = None
        self._observation_dim = env.task.observation_dim
        super().__init__(
            env.num_envs,
            gymnasium.spaces.Box(-LIMIT, LIMIT, (self._observation_dim + num_tasks,), np.float32),
            gymnasium.spaces.Box(-1.0, 1.0, (env.task.action_dim,), np.float32),
        )

    @property
    def num_diverged(self) -> int:
        """How many episodes a diverging simulation has ended so far."""
        return self.batch_env.num_diverged

    def reset(self) -> np.ndarray:
        """Start a new episode in every row and return the observations, (n, obs_dim)."""
        if any(seed is not None for seed in self._seeds):
            self.batch_env.seed(self._seeds[0])
        self._reset_seeds()
        self._returns[:] = 0.0
        self._solved[:] = False
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return np.concatenate([self.batch_env.reset(), self._tail], axis=1)

    def step_async(self, actions: npt.ArrayLike) -> None:
        """Keep the actions for `step_wait`.

        Args:
            actions: (n, action_dim), in [-1, 1].
        """
        self._actions = actions

    def step(self, actions: npt.ArrayLike) -> StepReturn:
        """Take one control step.

        Args:
            actions: (n, action_dim), in [-1, 1].
        """
        self.step_async(actions)
        return self.step_wait()

    def step_wait(self) -> StepReturn:
        """Take the step; rows whose episode ended return the next episode's first observation."""
        step = self.batch_env.step(self._actions)
        self._returns += step.reward
        self._solved |= step.success
        observations = np.concatenate([step.observation, self._tail], axis=1)
        names = self._term_names
        infos: list[dict[str, Any]] = [
            {"success": success, "reward_terms": dict(zip(names, terms, strict=True))}
            for success, terms in zip(step.success.tolist(), step.terms.tolist(), strict=True)
        ]
        if step.truncated.any():
            rows = np.flatnonzero(step.truncated)
            for row in rows:
                solved = bool(self._solved[row])
                infos[row]["episode"] = {
                    "r": float(self._returns[row]),
                    "l": int(self.batch_env.elapsed[row]),
                    "success": solved,
                }
                infos[row]["is_success"] = solved
                infos[row]["TimeLimit.truncated"] = True
                infos[row]["terminal_observation"] = observations[row].copy()
                if step.diverged[row]:
                    infos[row]["diverged"] = True
            observations[rows, : self._observation_dim] = self.batch_env.reset(rows)
            self._returns[rows] = 0.0
            self._solved[rows] = False
        return observations, step.reward.astype(np.float32), step.truncated, infos

    def close(self) -> None:
        """Free the renderer, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of every row from the front camera, (height, width, 3) uint8 each."""
        if self.render_mode is None:
            return [None] * self.num_envs
        if self._renderer is None:
            self._renderer = Renderer(self.batch_env)
        return [self._renderer.render(row) for row in range(self.num_envs)]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the adapter or of its batch, once for each index.

        Raises:
            AttributeError: if neither has it.
        """
        source = self if attr_name in vars(self) else self.batch_env
        return [getattr(source, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: the rows are one batch and have no attributes of their own.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"cannot set {attr_name!r} on single environments: they are rows of one batch"
        )

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Refuse: the rows are one batch and have no methods of their own.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"cannot call {method_name!r} on single environments: they are rows of one batch"
        )

    def env_is_wrapped(
        self,
        wrapper_class: type[Any],
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """Say yes to ``Monitor`` alone: episodes report their return and length themselves."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]
