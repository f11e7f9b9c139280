"""Demonstrations in a file: see `lifelong_rl.storage.array_file`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.storage.array_file import ArrayFileError, ArrayFormat
from lifelong_rl.storage.json_file import Shape
from lifelong_rl.text import quote

_METADATA: Shape = {
    "task": str,
    "task_version": str,
    "layout": {str: [int]},
    "reward_terms": [str],
    "control_hz": float,
    "seed": int,
    "noise": float,
}


class DemonstrationsError(ArrayFileError):
    """A file of demonstrations that cannot be used."""


FORMAT = ArrayFormat(
    "demonstrations", 1, command="demos", error=DemonstrationsError, shape=_METADATA
)


@dataclass(frozen=True)
class Demonstrations:
    """E episodes of one task, of at most T control steps each.

    After an episode's `lengths` steps everything is zero, except for the observations, which stay
    as they last were; only a diverging simulation makes an episode shorter than T.

    Attributes:
        observations: From the start's to the last state's, without a task one-hot,
            (E, T + 1, obs_dim) float32.
        actions: The actions taken, noise included, (E, T, action_dim) float32, in [-1, 1].
        expert_actions: What the expert chose in the same states, as `actions`.
        rewards: (E, T) float64.
        reward_terms: The weighted terms whose sum is the reward, (E, T, k) float64.
        success: Whether the state after each step solves the task, (E, T) bool.
        lengths: Control steps of each episode, (E,) int64.
        metadata: As JSON: "task", "task_version", "layout" (first and past-the-last index of each
            observation entry by name), "reward_terms" (their names), "control_hz", "seed" and
            "noise" (the standard deviation of what was added to the expert's actions), and
            whatever else tells where the demonstrations come from.
    """

    observations: npt.NDArray[np.float32]
    actions: npt.NDArray[np.float32]
    expert_actions: npt.NDArray[np.float32]
    rewards: npt.NDArray[np.float64]
    reward_terms: npt.NDArray[np.float64]
    success: npt.NDArray[np.bool_]
    lengths: npt.NDArray[np.int64]
    metadata: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check that the arrays fit together.

        Raises:
            ValueError: They do not, or the metadata lacks an entry.
        """
        missing = [key for key in _METADATA if key not in self.metadata]
        if missing:
            raise ValueError(f"the metadata lacks {', '.join(missing)}")
        episodes, steps = self.rewards.shape if self.rewards.ndim == 2 else (0, 0)
        obs_dim = max((stop for _, stop in self.metadata["layout"].values()), default=0)
        action_dim = self.actions.shape[-1:]
        wanted: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "observations": ((episodes, steps + 1, obs_dim), np.float32),
            "actions": ((episodes, steps, *action_dim), np.float32),
            "expert_actions": ((episodes, steps, *action_dim), np.float32),
            "rewards": ((episodes, steps), np.float64),
            "reward_terms": ((episodes, steps, len(self.metadata["reward_terms"])), np.float64),
            "success": ((episodes, steps), np.bool_),
            "lengths": ((episodes,), np.int64),
        }
        for name, (shape, dtype) in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} is {array.dtype} of shape {array.shape}, not "
                    f"{dtype.__name__} of shape {shape}"
                )

    @property
    def num_episodes(self) -> int:
        """Number of episodes, E."""
        return len(self.lengths)

    @property
    def solved(self) -> npt.NDArray[np.bool_]:
        """Whether any state of each episode solves the task, (E,)."""
        return np.asarray(self.success.any(axis=1))

    @property
    def returns(self) -> npt.NDArray[np.float64]:
        """Sum of the rewards of each episode, (E,)."""
        return np.asarray(self.rewards.sum(axis=1))

    @property
    def mean_steps_to_success(self) -> float | None:
        """Mean number of steps until an episode is first solved; None if none ever is."""
        first = 1 + self.success[self.solved].argmax(axis=1)
        return float(first.mean()) if len(first) else None


def save_demonstrations(path: Path, demonstrations: Demonstrations) -> None:
    """Write a file of demonstrations; at any moment it is there completely or not at all.

    Raises:
        WriteError: The disk refused.
    """
    arrays = dict(vars(demonstrations))
    FORMAT.save(path, arrays, arrays.pop("metadata"))


def load_demonstrations(
    path: Path, *, task: str | None = None, task_version: str | None = None
) -> Demonstrations:
    """Read a file of demonstrations and check it.

    Args:
        path: The file.
        task: The task it must hold; None takes any.
        task_version: The version of the task that it must have been made with; None takes any.

    Raises:
        DemonstrationsError: The file is missing, damaged, something else, or of another task or
            another version of it.
    """
    arrays, metadata = FORMAT.load(path)
    there, version = metadata["task"], metadata["task_version"]
    if task not in (None, there):
        raise DemonstrationsError(path, f"holds demonstrations of '{there}', not of '{task}'")
    if task_version not in (None, version):
        raise DemonstrationsError(
            path,
            f"was made with {version} of '{there}', which is {task_version} now; make it anew: "
            f"lifelong-rl demos --task {quote(there)} --overwrite",
        )
    try:
        return Demonstrations(**arrays, metadata=metadata)
    except (TypeError, ValueError) as error:
        raise DemonstrationsError(path, f"holds no demonstrations: {error}") from error
