"""What the environment asks of a robot: to take actions, to be placed, to be observed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from lifelong_rl.errors import UserError

Array = npt.NDArray[np.float64]

LIMIT = 10.0
"""Bound of every scaled entry of an observation."""

StartT = TypeVar("StartT")
StateT = TypeVar("StateT")


@dataclass(frozen=True)
class Marker:
    """A ball in pictures that is no part of the model, such as a goal.

    Attributes:
        position: (3,), m.
        rgba: its colour.
        radius: m.
    """

    position: Array
    rgba: tuple[float, float, float, float]
    radius: float


class Robot(ABC, Generic[StartT, StateT]):
    """One robot and its surroundings in every row of a batch.

    A robot binds the batch's arrays once. Whatever else an episode needs (goals, targets) it
    keeps in arrays of its own, one row per simulation, never in the model.
    """

    @abstractmethod
    def command(self, actions: Array) -> None:
        """Write the control of one control step.

        Args:
            actions: (n, action_dim), in [-1, 1].
        """

    @abstractmethod
    def place(self, ids: npt.NDArray[np.int64], starts: Sequence[StartT]) -> None:
        """Put some rows, just reset by MuJoCo, to the starts of their episodes.

        Args:
            ids: the rows, sorted, (k,).
            starts: the start of each, k of them.
        """

    @abstractmethod
    def state(self, rows: Any = slice(None)) -> StateT:
        """Return the current state of some rows, in SI units, as fresh arrays.

        Args:
            rows: which rows, as ids, a mask or a slice.
        """

    def memory(self) -> dict[str, Array]:
        """Return what the robot keeps of an episode beside the batch's arrays.

        Only snapshots and copies of environments ask for it.

        Returns:
            Live arrays by name, one row per simulation;
            `lifelong_rl.envs.batch_env.BatchEnv.restore` writes into them.

        Raises:
            UserError: the robot does not tell, so that an episode cannot be copied.
        """
        raise UserError(
            f"{type(self).__name__} has no memory(), so that its environments cannot be copied; "
            "return the arrays that it keeps of an episode by name, or {} if there are none"
        )

    @abstractmethod
    def encode(self, state: StateT) -> npt.NDArray[np.float32]:
        """Write states as the scaled observation, (n, observation_dim), a fresh array."""

    @abstractmethod
    def labels(self) -> dict[str, Array]:
        """Return what a picture of each row may be asked for, (n, k) by name, fresh arrays.

        At least ``hand`` and ``object``, places in the world, (n, 3), m, and the robot's
        ``joints``, rad.
        """

    def markers(self, row: int) -> list[Marker]:
        """Return what to draw into a picture of one row beside the model."""
        del row
        return []


def scaled(values: Array, offset: Array, scale: Array) -> npt.NDArray[np.float32]:
    """Return ``(values - offset) / scale`` with NaN as 0 and within ±`LIMIT`; ruins ``values``."""
    values -= offset
    values /= scale
    values[np.isnan(values)] = 0.0
    return clip(values, -LIMIT, LIMIT).astype(np.float32)


def clip(values: Array, low: Array | float, high: Array | float) -> Array:
    """Return ``np.clip(values, low, high)``, at half its cost on small arrays."""
    clipped: Array = np.minimum(np.maximum(values, low), high)
    return clipped
