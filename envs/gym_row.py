"""One environment of Gymnasium as one row of a stream's environments.

Observations are flattened, padded and followed by the one-hot of the task; actions in [-1, 1] are
rescaled to the environment's bounds; episodes report their return, length, and success or score;
and an episode can be gone on with elsewhere, by taking its actions once more.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from lifelong_rl.envs.batch_env import DIVERGENCE
from lifelong_rl.envs.model_changes import change_model
from lifelong_rl.envs.robot import clip
from lifelong_rl.errors import ContractError, UnknownNameError, UserError, no_exit
from lifelong_rl.text import shorten

Observation = npt.NDArray[np.float32]
Step = tuple[Observation, float, bool, bool, dict[str, Any]]

LONGEST = 100_000
"""Steps after which an episode is one that does not end."""
_PROBED = 8
"""Steps after which a probe looks whether an episode can be gone on with."""


class GymRow(gymnasium.Wrapper[Observation, npt.NDArray[np.float32], Any, Any]):
    """An environment that shows and takes what all tasks of a stream do.

    At the end of an episode ``info["episode"]`` holds its return ``r``, its length ``l``, and
    ``success`` (also as ``info["is_success"]``), or ``score`` where the task has no success. Where
    a simulation of MuJoCo diverges, the episode is truncated, the step counts nothing, and
    ``info["diverged"]`` is true.

    Attributes:
        own_dims: numbers in an observation and in an action of the environment itself.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        owner: str,
        *,
        success: str | float | None = None,
        score_range: tuple[float, float] | None = None,
        one_hot: tuple[int, int] | None = None,
        obs_dim: int | None = None,
        action_dim: int | None = None,
    ) -> None:
        """Wrap an environment.

        Args:
            env: Owned from here on.
            owner: What to call it in errors, such as "the task 'Reacher-v5'".
            success: Key of info that is true at any step of an episode that succeeded; or the
                return from which on an episode has.
            score_range: Returns that are scored 0 and 1; None scores the return itself.
            one_hot: (task id, number of tasks); None appends nothing.
            obs_dim: Numbers before the one-hot, by default the environment's own.
            action_dim: Numbers of an action, by default the environment's own.

        Raises:
            UserError: Its spaces are no boxes, or have more numbers than that.
        """
        super().__init__(env)
        self._owner = owner
        self._success, self._score_range = success, score_range
        taken = _check_actions(env.action_space, owner)
        self.own_dims = _flat_size(env.observation_space, owner), math.prod(taken.shape)
        obs_dim = self.own_dims[0] if obs_dim is None else obs_dim
        action_dim = self.own_dims[1] if action_dim is None else action_dim
        if obs_dim < self.own_dims[0] or action_dim < self.own_dims[1]:
            raise UserError(
                f"{owner} has {self.own_dims[0]} numbers in an observation and {self.own_dims[1]} "
                f"in an action, more than {obs_dim} and {action_dim}"
            )
        task_id, num_tasks = one_hot or (0, 0)
        self._blank = np.zeros(obs_dim + num_tasks, np.float32)
        self._blank[obs_dim + task_id : obs_dim + task_id + 1] = 1.0
        self.observation_space = spaces.Box(-np.inf, np.inf, self._blank.shape, np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
        self._taken = taken
        low, high = taken.low.ravel().astype(float), taken.high.ravel().astype(float)
        self._bounds = low, high
        self._middle, self._half = (high + low) / 2, (high - low) / 2
        self._model: mujoco.MjModel | None = None
        self._original: mujoco.MjModel | None = None
        self._factors: dict[str, float] = {}
        self._origin: dict[str, Any] = {}
        self._observation = self._blank
        self._actions: list[npt.NDArray[Any]] = []
        self._changes: list[tuple[int, dict[str, float]]] = []
        self._first_factors: dict[str, float] = {}
        self._return, self._solved, self._warnings = 0.0, False, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode: the first one of ``seed``, or the next if it is None."""
        origin = {"generator": self._generator()} if seed is None else {"seed": seed}
        with no_exit():
            found, info = self.env.reset(seed=seed, options=options)
        if self._factors and self.env.unwrapped.model is not self._model:  # type: ignore[attr-defined]
            raise UserError(
                f"{self._owner} makes a new MuJoCo model for each episode, so that its model "
                "cannot be changed"
            )
        observation = self._show(found)
        self._begin(origin, observation)
        return observation, info

    def step(self, action: npt.ArrayLike) -> Step:
        """Take one step.

        Args:
            action: (action_dim,); the environment's own entries come first, and are clipped to
                [-1, 1] and rescaled to its bounds; the rest is ignored.
        """
        own = clip(np.asarray(action, np.float64)[: self.own_dims[1]], -1.0, 1.0)
        taken = clip(self._middle + self._half * own, *self._bounds)
        return self._advance(taken.astype(self._taken.dtype).reshape(self._taken.shape))

    def change_model(self, factors: Mapping[str, float]) -> None:
        """Change the MuJoCo model from now on; see `lifelong_rl.envs.model_changes`.

        Args:
            factors: By quantity, of the original value.

        Raises:
            UserError: A factor is wrong, or the environment has no MuJoCo model.
        """
        if self._original is None:
            model = getattr(self.env.unwrapped, "model", None)
            if not isinstance(model, mujoco.MjModel):
                raise UserError(f"{self._owner} has no MuJoCo model that could be changed")
            self._model, self._original = model, copy.copy(model)
        change_model(self._model, self._original, factors)
        self._factors = {name: float(factor) for name, factor in factors.items()}
        self._changes.append((len(self._actions), self._factors))

    def state_dict(self) -> dict[str, Any]:
        """Return how the episode came about, and with it all that its next steps depend on.

        That is its seed, or the state that the environment's generator had before its reset; the
        actions since; and the changes of the model.
        """
        shape = (len(self._actions), *self._taken.shape)
        return {
            "origin": self._origin,
            "first_factors": self._first_factors,
            "changes": [[step, factors] for step, factors in self._changes],
            "actions": np.array(self._actions, self._taken.dtype).reshape(shape),
            "observation": self._observation,
            "generator": self._generator(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the episode of a `state_dict`, by taking its actions once more.

        Raises:
            UserError: They lead elsewhere here.
        """
        if state["first_factors"] != self._factors:
            self.change_model(state["first_factors"])
        origin, actions = state["origin"], state["actions"]
        if "seed" in origin:
            self.reset(seed=origin["seed"])
        else:
            before = origin.get("generator", state["generator"])
            self.env.unwrapped.np_random.bit_generator.state = before
            if origin:
                self.reset()
        changes: dict[int, list[Mapping[str, float]]] = {}
        for step, factors in state["changes"]:
            changes.setdefault(step, []).append(factors)
        over = False
        for step in range(len(actions) + 1):
            for factors in changes.get(step, []):
                self.change_model(factors)
            if step < len(actions) and not over:
                _, _, terminated, truncated, _ = self._advance(actions[step])
                over = terminated or truncated
        if (
            over
            or not np.array_equal(self._observation, state["observation"])
            or not _are_equal(self._generator(), state["generator"])
        ):
            raise UserError(
                f"the interrupted episode of {self._owner} cannot be gone on with: its "
                f"{len(actions)} actions, taken once more, lead elsewhere; go on from a checkpoint "
                "at the end of a task"
            )

    def _advance(self, taken: npt.NDArray[Any]) -> Step:
        """Take one step with an action of the environment's own.

        Raises:
            UserError: The episode does not end.
        """
        if len(self._actions) >= LONGEST:
            raise UserError(
                f"an episode of {self._owner} has not ended after {LONGEST} steps; give it an end, "
                "such as kwargs: {max_episode_steps: 1000}"
            )
        self._actions.append(taken.copy())
        with no_exit():
            found, reward, terminated, truncated, info = self.env.step(taken)
        info = dict(info)
        reward, terminated, truncated = float(reward), bool(terminated), bool(truncated)
        if self._count_warnings() != self._warnings:  # MuJoCo has reset what is shown
            reward, terminated, truncated = 0.0, False, True
            info["diverged"] = True
            observation = self._observation.copy()
        else:
            observation = self._show(found)
            if isinstance(self._success, str):
                self._solved |= _read_success(info, self._success, self._owner)
        self._observation = observation
        self._return += reward
        if terminated or truncated:
            info["episode"] = {"r": self._return, "l": len(self._actions), **self._tell(info)}
        return observation, reward, terminated, truncated, info

    def _tell(self, info: dict[str, Any]) -> dict[str, Any]:
        """Return success or score of the episode that has ended."""
        if self._success is None:
            return {"score": self._score(self._return)}
        if not isinstance(self._success, str):
            self._solved = self._return >= self._success
        info["is_success"] = self._solved
        return {"success": self._solved}

    def _score(self, total: float) -> float:
        if self._score_range is None:
            return total
        low, high = self._score_range
        return min(max((total - low) / (high - low), 0.0), 1.0)

    def _begin(self, origin: dict[str, Any], observation: Observation) -> None:
        """Forget the last episode."""
        self._origin, self._observation = origin, observation
        self._actions, self._changes = [], []
        self._first_factors = self._factors
        self._return, self._solved = 0.0, False
        self._warnings = self._count_warnings()

    def _show(self, found: Any) -> Observation:
        """Return an observation as the stream shows it.

        Raises:
            ContractError: It is not what the environment's space says.
        """
        space = self.env.observation_space
        flat: npt.NDArray[Any] = np.asarray(
            found if isinstance(space, spaces.Box) else spaces.flatten(space, found)
        )
        if flat.size != self.own_dims[0]:
            raise ContractError(
                self._owner,
                f"shows an observation of shape {flat.shape}, and its observation_space says "
                f"{space.shape or self.own_dims[:1]}",
            )
        shown = self._blank.copy()
        shown[: flat.size] = flat.ravel()
        return shown

    def _generator(self) -> dict[str, Any] | None:
        """Return the state of the environment's generator, None if it has none of NumPy's."""
        generator = self.env.unwrapped.np_random
        if not isinstance(generator, np.random.Generator):
            return None
        return dict(generator.bit_generator.state)

    def _count_warnings(self) -> int:
        """Return how often MuJoCo has found the simulation's state bad."""
        data = getattr(self.env.unwrapped, "data", None)
        if not isinstance(data, mujoco.MjData):
            return 0
        return int(data.warning.number[DIVERGENCE].sum())


def find_replay_obstacle(row: GymRow) -> str | None:
    """Return why an episode cannot be gone on with elsewhere; None if it can.

    Pieces of two episodes are taken twice: of the first after a seed, and of the one that follows.

    Args:
        row: Is reset.

    Raises:
        UserError: The environment does not do what it should.
    """
    row.reset(seed=0)
    for _ in range(2):
        _take_actions(row)
        state = row.state_dict()
        if state["generator"] is None:
            return "its np_random is no numpy.random.Generator"
        expected = _take_actions(row)
        row.reset()
        _take_actions(row)
        try:
            row.load_state_dict(state)
        except UserError:
            return "after the same seed and actions it shows something else the second time"
        if not np.array_equal(_take_actions(row), expected):
            return "it depends on more than its seed and its actions"
        row.reset()
    return None


def _take_actions(row: GymRow) -> npt.NDArray[np.float32]:
    """Take always the same few actions, and return what is shown after each, (k, numbers)."""
    rng = np.random.default_rng(0)
    shown = []
    for _ in range(_PROBED):
        observation, _, terminated, truncated, _ = row.step(rng.uniform(-1, 1, row.own_dims[1]))
        if terminated or truncated:
            observation, _ = row.reset()
        shown.append(observation)
    return np.stack(shown)


def _flat_size(space: gymnasium.Space[Any], owner: str) -> int:
    """Return how many numbers an observation is.

    Raises:
        UserError: It is not made of boxes.
    """
    if isinstance(space, spaces.Box):
        return math.prod(space.shape)
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return sum(_flat_size(part, owner) for part in parts)
    raise UserError(
        f"{owner} observes {shorten(space)}; a task's observation is a Box, or a Dict or Tuple of "
        "these"
    )


def _check_actions(space: gymnasium.Space[Any], owner: str) -> spaces.Box:
    """Return the space of actions, once it is a box of fractions with bounds.

    Raises:
        UserError: It is something else.
    """
    if not isinstance(space, spaces.Box) or space.dtype.kind != "f":
        raise UserError(
            f"{owner} takes actions of {shorten(space)}; the agents here need a Box of "
            "floating-point numbers"
        )
    if not space.is_bounded("both"):
        raise UserError(
            f"{owner} takes actions of {shorten(space)}, which have no bounds to rescale [-1, 1] "
            "to; add a wrapper that bounds them"
        )
    return space


def _read_success(info: Mapping[str, Any], key: str, owner: str) -> bool:
    """Return whether a step tells of success.

    Raises:
        UserError: It does not tell.
    """
    if key not in info:
        raise UnknownNameError(f"success of {owner}", key, map(str, info), see="keys of its info")
    found = info[key]
    if not isinstance(found, (Real, np.bool_)) or found not in (0, 1):
        raise UserError(
            f"info['{key}'] of {owner} is {shorten(found)}; success is true or false, or 1 or 0"
        )
    return bool(found)


def _are_equal(state: Any, other: Any) -> bool:
    """Return whether two states of generators are equal, which may hold arrays."""
    if isinstance(state, Mapping) and isinstance(other, Mapping):
        return state.keys() == other.keys() and all(_are_equal(state[k], other[k]) for k in state)
    return np.array_equal(state, other)
