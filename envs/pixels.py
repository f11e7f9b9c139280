"""Observations: the state as one vector, or pictures beside what the robot feels of itself.

Pictures are channels first: entry ``(3 * len(cameras)) * k + 3 * c + rgb`` along the first axis is
a colour of camera ``c`` in frame ``k`` of the stack, the oldest frame first. An episode starts
with copies of its first frame.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import gymnasium
import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.batch_env import BatchEnv, Step
from lifelong_rl.envs.rendering import Renderer
from lifelong_rl.envs.robot import LIMIT
from lifelong_rl.errors import lookup

OBSERVATIONS = ("state", "pixels")
"""What an environment can show."""
LEAST_SIZE, LARGEST_SIZE = 8, 512
"""Bounds of a frame's width and height, in pixels."""

Observation = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]
"""Of n rows: a vector (n, dim), frames (n, channels, size, size), or both by name."""


class PixelOptions(TypedDict, total=False):
    """What can be chosen about pixel observations; see `Pixels`."""

    cameras: Sequence[str]
    size: int
    frame_stack: int
    proprioception: bool


@dataclass(frozen=True)
class Pixels:
    """How pixel observations look.

    Attributes:
        cameras: names of the task's `cameras`, in the order of the channels.
        size: width and height of a frame, in pixels.
        frame_stack: how many frames an observation holds, the latest among them.
        proprioception: whether the entries of the task's `proprioception` come beside them; runs
            have the same default.

    Raises:
        ValueError: if a value is out of its range, or a camera is named twice.
    """

    cameras: tuple[str, ...] = ("front",)
    size: int = 64
    frame_stack: int = 1
    proprioception: bool = True

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise ValueError(f"cameras is {self.cameras}; name at least one, and none twice")
        if not LEAST_SIZE <= self.size <= LARGEST_SIZE:
            raise ValueError(f"size is {self.size}; allowed: {LEAST_SIZE} to {LARGEST_SIZE}")
        if self.frame_stack < 1:
            raise ValueError(f"frame_stack is {self.frame_stack}; it must be at least 1")


class Observer(ABC):
    """Turns the states of a batch into observations.

    Attributes:
        space: of one row's observations.
    """

    space: gymnasium.Space[Any]

    @abstractmethod
    def first(self, rows: npt.NDArray[np.int64], state: npt.NDArray[np.float32]) -> Observation:
        """Return the observations of rows that were just reset, fresh arrays.

        Args:
            rows: their ids, (k,).
            state: what `BatchEnv.reset` returned, (k, observation_dim).
        """

    @abstractmethod
    def next(self, step: Step) -> Observation:
        """Return the observations of all rows after a step, fresh arrays."""

    def state_dict(self) -> dict[str, Any]:
        """Return what the next observations depend on beside the batch: by default nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        del state

    @abstractmethod
    def close(self) -> None:
        """Free what is held."""


class StateObserver(Observer):
    """The state as one vector, followed by a tail that is the same for every row."""

    def __init__(self, env: BatchEnv, tail: npt.NDArray[np.float32]) -> None:
        """Keep the tail, (k,)."""
        self._tail = tail
        self.space = _vectors(env.task.observation_dim + len(tail))

    def first(
        self, rows: npt.NDArray[np.int64], state: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """See `Observer.first`."""
        return with_tail(state, self._tail)

    def next(self, step: Step) -> npt.NDArray[np.float32]:
        """See `Observer.next`."""
        return with_tail(step.observation, self._tail)

    def close(self) -> None:
        """Free nothing: there is nothing to free."""


class PixelObserver(Observer):
    """Frames of the chosen cameras; with anything beside them, a dictionary of both.

    ``pixels`` are the frames and ``state`` holds the proprioception followed by the tail; without
    either of the two, an observation is the frames alone. A row whose simulation diverged keeps
    its last frame.

    Attributes:
        pixels: what is shown.
    """

    def __init__(self, env: BatchEnv, pixels: Pixels, tail: npt.NDArray[np.float32]) -> None:
        """Prepare; the OpenGL context is opened by the thread that first resets.

        Args:
            env: the batch to look at.
            pixels: what to show of it.
            tail: what every state part ends with, (k,).

        Raises:
            UnknownNameError: if the task has no such camera.
        """
        for camera in pixels.cameras:
            lookup("camera", camera, env.task.cameras, see="")
        self._env, self._tail = env, tail
        self.pixels = pixels
        self._renderer: Renderer | None = None
        felt = env.task.proprioception if pixels.proprioception else ()
        everything = np.arange(env.task.observation_dim)
        self._felt = np.concatenate(
            [everything[:0], *(everything[env.task.layout[name]] for name in felt)]
        )
        self._frame_channels = 3 * len(pixels.cameras)
        shape = self._frame_channels * pixels.frame_stack, pixels.size, pixels.size
        self._stack = np.zeros((env.num_envs, *shape), np.uint8)
        self.space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self._state_dim = len(self._felt) + len(tail)
        if self._state_dim:
            self.space = gymnasium.spaces.Dict(
                {"pixels": self.space, "state": _vectors(self._state_dim)}
            )

    def first(self, rows: npt.NDArray[np.int64], state: npt.NDArray[np.float32]) -> Observation:
        """See `Observer.first`."""
        self._stack[rows] = np.tile(self._frames(rows), (1, self.pixels.frame_stack, 1, 1))
        return self.beside(self._stack[rows], state)

    def next(self, step: Step) -> Observation:
        """See `Observer.next`."""
        newest = self._frame_channels
        self._stack[:, :-newest] = self._stack[:, newest:]
        rows = np.flatnonzero(~step.diverged)
        self._stack[rows, -newest:] = self._frames(rows)
        return self.beside(self._stack.copy(), step.observation)

    def state_dict(self) -> dict[str, Any]:
        """Return the frames of the stack."""
        return {"stack": self._stack.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Observer.load_state_dict`."""
        self._stack[:] = state["stack"]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the OpenGL context: a copy opens its own when it first needs one."""
        return {**vars(self), "_renderer": None}

    def close(self) -> None:
        """Free the OpenGL context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def beside(self, frames: npt.NDArray[np.uint8], state: npt.NDArray[np.float32]) -> Observation:
        """Return observations of stacked frames and the states they are of.

        Args:
            frames: (n, 3 * cameras * frame_stack, size, size).
            state: (n, observation_dim).
        """
        if not self._state_dim:
            return frames
        return {"pixels": frames, "state": with_tail(state[:, self._felt], self._tail)}

    def _frames(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the current frame of some rows, (k, 3 * cameras, size, size)."""
        size = self.pixels.size
        if self._renderer is None:
            self._renderer = Renderer(self._env, width=size, height=size)
        pictures = self._renderer.render_rows(rows, self.pixels.cameras)
        return pictures.transpose(0, 1, 4, 2, 3).reshape(len(rows), -1, size, size)


def make_observer(
    env: BatchEnv, observation: str, tail: npt.NDArray[np.float32], **pixels: Unpack[PixelOptions]
) -> Observer:
    """Return what turns the states of a batch into observations.

    Args:
        env: the batch.
        observation: ``"state"`` or ``"pixels"``.
        tail: what every state part ends with, such as a task's one-hot, (k,).
        **pixels: see `Pixels`.

    Raises:
        UnknownNameError: if the observation or a camera does not exist.
        ValueError: if a value is out of its range, or pixels are described but not asked for.
    """
    lookup("observation", observation, dict.fromkeys(OBSERVATIONS), see="")
    if observation == "pixels":
        cameras = pixels.get("cameras", Pixels.cameras)
        names = (cameras,) if isinstance(cameras, str) else tuple(cameras)
        options: dict[str, Any] = {**pixels, "cameras": names}
        return PixelObserver(env, Pixels(**options), tail)
    if pixels:
        raise ValueError(f"{', '.join(pixels)}: only with observation='pixels'")
    return StateObserver(env, tail)


def stack_frames(frames: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Put each frame of episodes after those before it, as an observation holds them.

    Args:
        frames: of E episodes from their start on, (E, T, channels, size, size).
        count: how many frames an observation holds.

    Returns:
        (E, T, count * channels, size, size).
    """
    moments = np.arange(frames.shape[1])
    return np.concatenate(
        [frames[:, np.maximum(moments - before, 0)] for before in reversed(range(count))], axis=2
    )


def with_tail(
    state: npt.NDArray[np.float32], tail: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Append the same tail, (k,), to every row of ``state``, (n, dim)."""
    observation = np.empty((len(state), state.shape[1] + len(tail)), np.float32)
    observation[:, : state.shape[1]] = state
    observation[:, state.shape[1] :] = tail
    return observation


def map_arrays(
    function: Callable[..., npt.NDArray[Any]], *observations: Observation
) -> Observation:
    """Call a function with the arrays of observations of one space, name by name."""
    if isinstance(observations[0], dict):
        return {name: function(*(each[name] for each in observations)) for name in observations[0]}
    return function(*observations)


def take(observations: Observation, row: int | np.integer[Any]) -> Observation:
    """Return a copy of one row's observation."""
    return map_arrays(lambda array: array[row].copy(), observations)


def put(observations: Observation, rows: npt.NDArray[np.int64], values: Observation) -> None:
    """Write the observations of some rows in place of what is there."""

    def write(array: npt.NDArray[Any], own: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array[rows] = own
        return array

    map_arrays(write, observations, values)


def _vectors(dim: int) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(-LIMIT, LIMIT, (dim,), np.float32)
