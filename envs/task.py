"""What a task is: a scene, a start distribution, reward terms and a success rule.

A task holds no state that changes. `lifelong_rl.envs.batch_env.BatchEnv` asks it how an episode
starts, one row at a time and with the row's own generator, and has it judge all rows at once.

To add a task, copy a file of `lifelong_rl.envs.tasks` and change what differs; from outside, call
`lifelong_rl.envs.register_task`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Generic

import mujoco
import numpy as np
from mujoco.batch import Batch

from lifelong_rl.envs.robot import Array, Robot, StartT, StateT
from lifelong_rl.envs.scenes import digest
from lifelong_rl.errors import UserError


def uniform(rng: np.random.Generator, low: Array, high: Array) -> Array:
    """Draw a point from a box: ``rng.uniform`` for two corners, but ten times as fast."""
    return low + (high - low) * rng.random(len(low))


class Task(ABC, Generic[StartT, StateT]):
    """One skill of one robot: what the tasks of the arm and of the claw share.

    Attributes:
        name: the task's name, in kebab-case.
        description: the first line of its docstring.
        version: changes whenever dynamics, starts or reward change; see also `revision`.
        horizon: control steps in an episode.
        weights: the reward terms' weights by name.
        reward_range: the least and the greatest reward of a step.
        expert_success: share of random episodes that the task's expert has to solve.
        layout: where each entry of the observation lies, by name.
        proprioception: the entries that tell of the robot alone.
        action_dim: length of an action.
        control_hz: control steps per second.
        substeps: physics steps in a control step.
        cameras: names of the model's cameras by the names that users give.
    """

    name: str
    description: str
    version: str = "v0"
    horizon: int
    weights: ClassVar[Mapping[str, float]]
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    expert_success: ClassVar[float]
    layout: ClassVar[Mapping[str, slice]]
    proprioception: ClassVar[tuple[str, ...]]
    action_dim: ClassVar[int]
    control_hz: ClassVar[int]
    substeps: ClassVar[int]
    cameras: ClassVar[Mapping[str, str]]

    def dims(self) -> tuple[int, int]:
        """Return how many numbers an observation of its state and an action are."""
        return max(part.stop for part in self.layout.values()), self.action_dim

    _revision: str | None = None

    def __init_subclass__(cls) -> None:
        """Take the description from the docstring."""
        super().__init_subclass__()
        cls.description = (inspect.getdoc(cls) or "").partition("\n")[0]

    @property
    def observation_dim(self) -> int:
        """Number of entries of an observation, without a sequence's one-hot."""
        dim: int = max(entry.stop for entry in self.layout.values())
        return dim

    @abstractmethod
    def spec(self) -> mujoco.MjSpec:
        """Put the task's scene together."""

    def model(self) -> mujoco.MjModel:
        """Compile the task's scene.

        Raises:
            UserError: if it cannot be compiled, or is made from files that have changed since
                `revision` was first asked for.
        """
        try:
            model = self.spec().compile()
        except ValueError as error:
            told = " ".join(str(error).split())
            raise UserError(
                f"the scene of task '{self.name}' cannot be compiled: {told}"
            ) from error
        if self._revision is not None and self._revision != self._revise():
            raise UserError(
                f"the files of task '{self.name}' have changed since they were first read, and "
                "results of two scenes do not mix; start again"
            )
        return model

    def files(self) -> tuple[Path, ...]:
        """Return the files of the task's own that its scene is made from; by default none.

        Only a task that overrides `spec` needs to name them itself.
        """
        return ()

    def revision(self) -> str:
        """Return what tells results of the task from those that are not comparable.

        That is the version and, where the scene is made from files of the task's own, a digest of
        these ("v0+5f0c1d2e3b4a"): to change a file is to make another task of it.
        """
        if self._revision is None:
            self._revision = self._revise()
        return self._revision

    def _revise(self) -> str:
        files = self.files()
        return f"{self.version}+{digest(files)}" if files else self.version

    @abstractmethod
    def robot(self, batch: Batch) -> Robot[StartT, StateT]:
        """Return the robot in a batch of the task's model."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> StartT:
        """Draw the start of one episode.

        Args:
            rng: the row's own generator, the only source of chance.
        """

    @abstractmethod
    def reward_terms(self, state: StateT) -> Mapping[str, Array]:
        """Return each reward term before weighting, (n,), by name.

        Only operations that round the same way for any number of rows are allowed: elementwise
        sums, products, quotients, square roots, minima and maxima.
        """

    @abstractmethod
    def success(self, state: StateT) -> np.ndarray:
        """Return whether each state solves the task, (n,) bool."""
