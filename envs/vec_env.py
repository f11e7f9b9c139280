"""The batch as a Stable-Baselines3 ``VecEnv``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any, Unpack

import gymnasium
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.datasets import Store, made_with, make_anew
from lifelong_rl.envs.demonstrations import Episodes, choose, collect, describe, film
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.pixels import (
    Observation,
    PixelObserver,
    PixelOptions,
    make_observer,
    map_arrays,
    put,
    stack_frames,
    take,
    with_tail,
)
from lifelong_rl.envs.rendering import Renderer, check_render_mode
from lifelong_rl.errors import UserError

StepReturn = tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]
"""Observations of n rows, rewards (n,) float32, dones (n,) bool, and an info per row."""


class VecEnvRows(VecEnv):
    """What adapters share whose environments are rows and no objects of their own.

    Attributes:
        action_dims: how many entries of an action count, by position of the one-hot; None for all.
    """

    action_dims: tuple[int, ...] | None = None

    def step(self, actions: npt.ArrayLike) -> StepReturn:
        """Take one control step.

        Args:
            actions: (n, action_dim), in [-1, 1].
        """
        self.step_async(actions)  # type: ignore[arg-type]
        return self.step_wait()

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


class BatchVecEnv(VecEnvRows):
    """`lifelong_rl.envs.batch_env.BatchEnv` behind Stable-Baselines3's interface.

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

    Attributes:
        batch_env: the batch.
        observer: turns its states into the observations.
    """

    def __init__(
        self,
        env: BatchEnv,
        one_hot: tuple[int, int] | None = None,
        render_mode: str | None = None,
        store: Store = make_anew,
        sizes: tuple[int, int] | None = None,
        observation: str = "state",
        **pixels: Unpack[PixelOptions],
    ) -> None:
        """Wrap a batch.

        Args:
            env: the batch; the adapter owns it from here on.
            one_hot: (task id, number of tasks) of the one-hot appended to every observation;
                None appends nothing.
            render_mode: None or ``"rgb_array"``.
            store: has or makes the demonstrations.
            sizes: numbers of a state before the one-hot, and of an action; by default those of the
                task. What it has not of a state is 0, and of an action of no effect.
            observation: ``"state"`` or ``"pixels"``.
            **pixels: how pixel observations look, see `lifelong_rl.envs.pixels.Pixels`.

        Raises:
            ValueError: if the render mode, the observation or a camera does not exist, or a value
                is out of its range.
        """
        check_render_mode(render_mode)
        self.batch_env = env
        self.render_mode = render_mode
        self._store = store
        task_id, num_tasks = one_hot or (0, 0)
        obs_dim, action_dim = sizes or env.task.dims()
        missing, self._unused = obs_dim - env.task.dims()[0], action_dim - env.task.action_dim
        self._tail = np.zeros((env.num_envs, missing + num_tasks), np.float32)
        self._tail[:, missing + task_id : missing + task_id + 1] = 1.0
        self._term_names = tuple(env.task.weights)
        self._returns = np.zeros(env.num_envs)
        self._solved = np.zeros(env.num_envs, bool)
        self._actions: npt.ArrayLike = np.zeros((env.num_envs, action_dim))
        self._renderer: Renderer | None = None
        self.observer = make_observer(env, observation, self._tail[0], **pixels)
        super().__init__(
            env.num_envs,
            self.observer.space,
            gymnasium.spaces.Box(-1.0, 1.0, (action_dim,), np.float32),
        )

    @property
    def num_diverged(self) -> int:
        """How many episodes a diverging simulation has ended so far."""
        return self.batch_env.num_diverged

    def reset(self) -> Any:
        """Start a new episode in every row and return the observations of all."""
        if any(seed is not None for seed in self._seeds):
            self.batch_env.seed(self._seeds[0])
        self._reset_seeds()
        self._returns[:] = 0.0
        self._solved[:] = False
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self.observer.first(np.arange(self.num_envs), self.batch_env.reset())

    def step_async(self, actions: npt.ArrayLike) -> None:
        """Keep the actions for `step_wait`.

        Args:
            actions: (n, action_dim), in [-1, 1].
        """
        self._actions = actions

    def step_wait(self) -> StepReturn:
        """Take the step; rows whose episode ended return the next episode's first observation."""
        actions = self._actions
        if self._unused:
            actions = np.asarray(actions)[:, : -self._unused]
        step = self.batch_env.step(actions)
        self._returns += step.reward
        self._solved |= step.success
        observations = self.observer.next(step)
        named = map(dict, map(zip, repeat(self._term_names), step.terms.tolist()))
        infos: list[dict[str, Any]] = [
            {"success": success, "reward_terms": terms}
            for success, terms in zip(step.success.tolist(), named, strict=True)
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
                infos[row]["terminal_observation"] = take(observations, row)
                if step.diverged[row]:
                    infos[row]["diverged"] = True
            put(observations, rows, self.observer.first(rows, self.batch_env.reset(rows)))
            self._returns[rows] = 0.0
            self._solved[rows] = False
        return observations, step.reward.astype(np.float32), step.truncated, infos

    def change_model(self, factors: Mapping[str, float]) -> None:
        """Change the model of every row from now on; see `BatchEnv.change_model`.

        Args:
            factors: by quantity, of the task's own value.

        Raises:
            UserError: if a factor is wrong, the task has no such element, or pictures, which show
                the task's own sizes, are observed and a size is to be changed.
        """
        sizes = [name for name in factors if name.partition("/")[0] == "size"]
        if sizes and isinstance(self.observer, PixelObserver):
            raise UserError(f"{sizes[0]} cannot be changed where pictures are observed")
        self.batch_env.change_model(factors)

    def demonstrations(self, episodes: int, seed: int, noise: float = 0.0) -> dict[str, Any]:
        """Return what the task's expert does, in simulations of its own.

        Their model is changed as that of these environments is.

        Args:
            episodes: how many whole episodes it acts for, at least 1.
            seed: of their starts and of the noise, at least 0.
            noise: standard deviation of what is added to its actions.

        Returns:
            One row for each control step, episode by episode: ``observations`` as the environment
            shows them, with the one-hot if there is one; the ``actions`` taken, noise included,
            and the ``expert_actions`` without it, (n, action_dim); ``rewards`` (n,); and ``dones``
            (n,), which are all 0: episodes are only ever truncated. Where the state is shown, also
            ``next_observations``; pictures are large enough once.

        Raises:
            ValueError: if a number is out of its range, or the task has no expert.
            RenderingError: if pictures are needed and this machine cannot render.
        """
        task, factors = self.batch_env.task, self.batch_env.factors
        expert = get_expert(task.name)
        described = {
            "episodes": episodes,
            **describe(task, seed=seed, noise=noise),
            **({"factors": dict(sorted(factors.items()))} if factors else {}),
            "made_with": made_with(),
        }
        found = Episodes(
            **self._store(
                {"kind": "demonstrations", **described},
                lambda: vars(
                    collect(
                        task, expert, episodes=episodes, seed=seed, noise=noise, factors=factors
                    )
                ),
            )
        )
        taken = np.arange(task.horizon) < found.lengths[:, None]
        shown = {
            "actions": self._with_unused(found.actions[taken]),
            "expert_actions": self._with_unused(found.expert_actions[taken]),
            "rewards": found.rewards[taken].astype(np.float32),
            "dones": np.zeros(taken.sum(), np.float32),
        }
        states = found.observations[:, :-1][taken]
        if not isinstance(self.observer, PixelObserver):
            following = found.observations[:, 1:][taken]
            return {
                "observations": with_tail(states, self._tail[0]),
                "next_observations": with_tail(following, self._tail[0]),
                **shown,
            }
        pixels = self.observer.pixels
        frames = self._store(
            {
                "kind": "films",
                **described,
                "cameras": list(pixels.cameras),
                "size": pixels.size,
            },
            lambda: {"frames": film(task, found, seed, pixels, factors)},
        )["frames"]
        stacked = stack_frames(frames[:, :-1], pixels.frame_stack)[taken]
        return {"observations": self.observer.beside(stacked, states), **shown}

    def states(self) -> npt.NDArray[np.float32]:
        """Return what these environments would show now if they showed the state, (n, dim)."""
        return with_tail(self.batch_env.observe(), self._tail[0])

    def expert_actions(self) -> npt.NDArray[np.float32]:
        """Return what the task's expert would do now in every row, (n, action_dim), in [-1, 1].

        Raises:
            ValueError: if the task has no expert.
        """
        return self._with_unused(choose(get_expert(self.batch_env.task.name), self.batch_env))

    def _with_unused(self, actions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return actions with 0 for the entries that the task has not."""
        return np.pad(actions, ((0, 0), (0, self._unused))) if self._unused else actions

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps and episodes depend on.

        Raises:
            UserError: the task's robot does not tell what it keeps.
        """
        return {
            "batch": self.batch_env.state_dict(),
            "observer": self.observer.state_dict(),
            "returns": self._returns.copy(),
            "solved": self._solved.copy(),
            "seeds": list(self._seeds),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state_dict` of equal environments, to the last bit."""
        self.batch_env.load_state_dict(state["batch"])
        self.observer.load_state_dict(state["observer"])
        self._returns[:], self._solved[:] = state["returns"], state["solved"]
        self._seeds = list(state["seeds"])

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the OpenGL context: a copy opens its own when it first needs one."""
        return {**vars(self), "_renderer": None}

    def close(self) -> None:
        """Free the OpenGL contexts, if there are any."""
        self.observer.close()
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


class JointVecEnv(VecEnvRows):
    """The environments of several tasks side by side, in the order of the tasks.

    They step one task after the other. ``seed(s)`` followed by ``reset()`` starts the same
    episodes every time; those of the first task are then the ones it has alone.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        """Put environments side by side.

        Args:
            parts: the environments of each task, with the same spaces; owned from here on.
        """
        self.parts = tuple(parts)
        sizes = [part.num_envs for part in parts]
        self._first = np.cumsum([0, *sizes[:-1]])
        super().__init__(sum(sizes), parts[0].observation_space, parts[0].action_space)

    @property
    def num_diverged(self) -> int:
        """How many episodes a diverging simulation has ended so far."""
        return sum(getattr(part, "num_diverged", 0) for part in self.parts)

    def reset(self) -> Any:
        """Start a new episode in every row and return the observations of all."""
        for first, part in zip(self._first, self.parts, strict=True):
            seed = self._seeds[first]
            if seed is not None:
                part.seed(seed)
        self._reset_seeds()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return _concatenate([part.reset() for part in self.parts])

    def step_async(self, actions: npt.ArrayLike) -> None:
        """Hand each task's environments their actions.

        Args:
            actions: (n, action_dim), in [-1, 1].
        """
        of_parts = np.split(np.asarray(actions), self._first[1:])
        for own, part in zip(of_parts, self.parts, strict=True):
            part.step_async(own)

    def step_wait(self) -> StepReturn:
        """Take the step; rows whose episode ended return the next episode's first observation."""
        steps = [part.step_wait() for part in self.parts]
        observations, rewards, dones, infos = zip(*steps, strict=True)
        return (
            _concatenate(observations),
            np.concatenate(rewards),
            np.concatenate(dones),
            [info for of_part in infos for info in of_part],
        )

    def change_model(self, factors: Mapping[str, float]) -> None:
        """Change the models of all tasks from now on; see `BatchVecEnv.change_model`."""
        for part in self.parts:
            part.change_model(factors)

    def demonstrations(self, episodes: int, seed: int, noise: float = 0.0) -> dict[str, Any]:
        """Return what the experts of all tasks do; see `BatchVecEnv.demonstrations`.

        Args:
            episodes: whole episodes of each task, at least 1.
            seed: of their starts and of the noise, at least 0.
            noise: standard deviation of what is added to the experts' actions.
        """
        shown = [part.demonstrations(episodes, seed, noise) for part in self.parts]
        return {name: _concatenate([rows[name] for rows in shown]) for name in shown[0]}

    def states(self) -> npt.NDArray[np.float32]:
        """Return the states of all rows; see `BatchVecEnv.states`."""
        return np.concatenate([part.states() for part in self.parts])

    def expert_actions(self) -> npt.NDArray[np.float32]:
        """Return what the experts would do now in every row; see `BatchVecEnv.expert_actions`."""
        return np.concatenate([part.expert_actions() for part in self.parts])

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps and episodes depend on."""
        return {
            "parts": [part.state_dict() for part in self.parts],
            "seeds": list(self._seeds),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state_dict` of equal environments, to the last bit."""
        for part, of_part in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(of_part)
        self._seeds = list(state["seeds"])

    def close(self) -> None:
        """Free what the environments hold."""
        for part in self.parts:
            part.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of every row, see `BatchVecEnv.get_images`."""
        return [image for part in self.parts for image in part.get_images()]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the adapters or of their batches, for each index.

        Raises:
            AttributeError: if they do not have it.
        """
        values = [value for part in self.parts for value in part.get_attr(attr_name)]
        return [values[index] for index in self._get_indices(indices)]


def _concatenate(observations: Sequence[Observation]) -> Observation:
    """Return the rows of all observations, one after the other."""
    return map_arrays(lambda *arrays: np.concatenate(arrays), *observations)
