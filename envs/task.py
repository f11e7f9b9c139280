"""What a task is: a scene, a start distribution, reward terms and a success rule.

A task holds no state. `envs.batch_env.BatchEnv` asks it how an episode starts, one row at a time
and with the row's own generator, and has it judge all rows at once; goals and starts are arrays
of the batch and never written into the model.

To add a task, copy a file of `envs.tasks`, change what differs, and add the class to
`envs.tasks.TASKS`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import mujoco
import numpy as np

from envs.observation import Array, State
from envs.scenes import build_model


def uniform(rng: np.random.Generator, low: Array, high: Array) -> Array:
    """Draw a point from a box: ``rng.uniform`` for two corners, but ten times as fast."""
    return low + (high - low) * rng.random(len(low))


@dataclass(frozen=True)
class Start:
    """How the episode of one row starts.

    Attributes:
        hand: hand position, (3,), m.
        goal: goal position, (3,), m.
        opening: gripper opening, m.
        fixture: position of the scene's mocap body, (3,), m; None where there is none.
        qpos: values of object joints that do not start at the model's default, by joint name.
    """

    hand: Array
    goal: Array
    opening: float = 0.04
    fixture: Array | None = None
    qpos: Mapping[str, Array | float] = field(default_factory=dict)


class Task(ABC):
    """One skill of the arm.

    Attributes:
        name: the task's name, in kebab-case.
        description: the first line of its docstring.
        version: changes whenever dynamics, starts or reward change.
        horizon: control steps in an episode.
        objects: the MJCF files the scene adds to the workbench and the arm.
        object_site: the site observed as the task's object.
        object_joint: the joint observed as the object's joint coordinate, if there is one.
        joint_range: the joint coordinate observed as 1, m or rad.
        weights: the reward terms' weights by name; they sum to 1.
        goal_rgba: colour of the goal's marker in pictures; None draws none.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    version: ClassVar[str] = "v0"
    horizon: ClassVar[int]
    objects: ClassVar[tuple[str, ...]] = ()
    object_site: ClassVar[str]
    object_joint: ClassVar[str | None] = None
    joint_range: ClassVar[float] = 1.0
    weights: ClassVar[Mapping[str, float]]
    goal_rgba: ClassVar[tuple[float, float, float, float] | None] = None

    def __init_subclass__(cls) -> None:
        """Take the description from the docstring."""
        super().__init_subclass__()
        cls.description = (inspect.getdoc(cls) or "").partition("\n")[0]

    def model(self) -> mujoco.MjModel:
        """Compile the task's scene."""
        return build_model(self.objects, self.object_site)

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Start:
        """Draw the start of one episode.

        Args:
            rng: the row's own generator, the only source of chance.
        """

    @abstractmethod
    def reward_terms(self, state: State) -> dict[str, Array]:
        """Return each reward term before weighting, (n,) in [0, 1], by name.

        Only operations that round the same way for any number of rows are allowed: elementwise
        sums, products, quotients, square roots, minima and maxima.
        """

    @abstractmethod
    def success(self, state: State) -> np.ndarray:
        """Return whether each state solves the task, (n,) bool."""
