"""What continual learning asks of Stable-Baselines3's replay buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from lifelong_rl.agents.sight import LearnedSight
from lifelong_rl.learning import Batch, StateTree

ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


@dataclass
class PackedBuffer:
    """A replay buffer for copying: what is in it, and not all that it has room for.

    Attributes:
        kind: Its class.
        attributes: All but its arrays.
        held: By name, the number of steps that an array has room for, and those that are there.
    """

    kind: type[ReplayBuffer]
    attributes: dict[str, Any]
    held: dict[str, tuple[int, np.ndarray]]


class TaskReplayBuffer(ReplayBuffer):
    """A replay buffer that knows which tasks its rows are of.

    Args:
        *base: As for `ReplayBuffer`.
        num_tasks: Length of the one-hot at the end of observations; with 1 there is none.
        **more: As for `ReplayBuffer`.

    Attributes:
        tasks: The tasks that rows have been added of since the buffer was empty.
        added: Steps of all environments that have been added since then, held or not; step k is
            at position k modulo `buffer_size`.
    """

    def __init__(self, *base: Any, num_tasks: int = 1, **more: Any) -> None:
        super().__init__(*base, **more)
        self.num_tasks = num_tasks
        self.tasks: set[int] = set()
        self.added = 0

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Add a transition of each environment; see `ReplayBuffer`."""
        self._make_room()
        super().add(self._keep(obs), self._keep(next_obs), action, reward, done, infos)
        self.note_tasks(obs)
        self.added += 1

    def reset(self) -> None:
        """Empty the buffer."""
        super().reset()
        self.tasks = set()
        self.added = 0

    def span(self) -> tuple[int, int]:
        """See `lifelong_rl.learning.protocols.Experience`."""
        return self.added - self.size(), self.added

    def read(self, first: int, end: int) -> dict[str, np.ndarray]:
        """See `lifelong_rl.learning.protocols.Experience`."""
        places = np.arange(first, end) % self.buffer_size
        return {name: getattr(self, name)[places] for name in ARRAYS}

    def write(self, first: int, steps: Mapping[str, np.ndarray]) -> None:
        """See `lifelong_rl.learning.protocols.Experience`; `tasks` is left as it is."""
        self.added = first + len(steps["rewards"])
        self.reserve(min(self.added, self.buffer_size))
        places = np.arange(first, self.added) % self.buffer_size
        for name in ARRAYS:
            getattr(self, name)[places] = steps[name]
        self.pos, self.full = self.added % self.buffer_size, self.added >= self.buffer_size

    def note_tasks(self, rows: np.ndarray) -> None:
        """Take note of the tasks of rows (n, d) or of one row (d,), as environments show them."""
        if self.num_tasks > 1:
            one_hots = np.reshape(rows, (-1, np.shape(rows)[-1]))[:, -self.num_tasks :]
            self.tasks.update(one_hots.argmax(axis=1).tolist())

    def _make_room(self) -> None:
        """Called before a step is added."""

    def reserve(self, steps: int) -> None:
        """Make the arrays at least `steps` steps of all environments long."""

    def _keep(self, rows: np.ndarray) -> np.ndarray:
        """What is held of rows that environments show."""
        return rows

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        if env is not None or self.optimize_memory_usage:
            return super()._get_samples(batch_inds, env)
        env_indices = np.random.randint(0, high=self.n_envs, size=(len(batch_inds),))  # noqa: NPY002
        rows = torch.from_numpy(batch_inds * self.n_envs + env_indices)

        def drawn(values: np.ndarray) -> Tensor:
            shape = values.shape[2:] or (1,)
            every = torch.from_numpy(values.reshape(len(values) * self.n_envs, *shape))
            return every.index_select(0, rows)

        over = drawn(self.dones) * (1 - drawn(self.timeouts))  # running out of time is not an end
        data = (
            drawn(self.observations),
            drawn(self.actions),
            drawn(self.next_observations),
            over,
            drawn(self.rewards),
        )
        return ReplayBufferSamples(*(values.to(self.device) for values in data))


class PixelReplayBuffer(TaskReplayBuffer):
    """A replay buffer of rows with pixels, of which it holds a byte each.

    It grows as it is filled: what it may hold in the end is often more than there is memory.

    Args:
        buffer_size: Transitions that it may hold.
        observation_space: Of a row.
        action_space: Of an action.
        device: As for `ReplayBuffer`.
        n_envs: As for `ReplayBuffer`.
        sight: Makes the rows small, and large again.
        **options: As for `ReplayBuffer`.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        *,
        sight: LearnedSight,
        **options: Any,
    ) -> None:
        kept = spaces.Box(0, 255, (sight.num_bytes,), np.uint8)
        super().__init__(n_envs, kept, action_space, device, n_envs, **options)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self._sight = sight

    def reserve(self, steps: int) -> None:
        """See `TaskReplayBuffer`."""
        for name in ARRAYS:
            held = getattr(self, name)
            if len(held) < steps:
                larger = np.zeros((steps, *held.shape[1:]), held.dtype)
                larger[: len(held)] = held
                setattr(self, name, larger)

    def restore(self, observations: Tensor) -> Tensor:
        """Rows (n, dim) of what is held of them, (n, num_bytes)."""
        return self._sight.restore(observations)

    def _make_room(self) -> None:
        held = len(self.observations)
        if self.pos == held:
            self.reserve(min(2 * held, self.buffer_size))

    def _keep(self, rows: np.ndarray) -> np.ndarray:
        return self._sight.keep_rows(rows)

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        held = super()._get_samples(batch_inds, env)
        return held._replace(
            observations=self.restore(held.observations),
            next_observations=self.restore(held.next_observations),
        )


def stream(buffer: ReplayBuffer, last: int, batch_size: int) -> Iterator[Batch]:
    """The transitions of the last steps of a buffer once, oldest first.

    Args:
        buffer: Holds one transition of each environment per step.
        last: Number of steps, from the latest one back; those that are still held.
        batch_size: About how many transitions to give at a time.

    Yields:
        "observations", "actions", "next_observations", "rewards" and "dones", (n, ...) each.
        Observations are as the environments show them. An episode that ran out of time is not done.
    """
    steps = min(last, buffer.size())
    order = (buffer.pos - steps + np.arange(steps)) % buffer.buffer_size
    at_once = max(1, batch_size // buffer.n_envs)
    restore = buffer.restore if isinstance(buffer, PixelReplayBuffer) else None
    for first in range(0, len(order), at_once):
        rows = order[first : first + at_once]
        batch = {
            name: buffer.to_torch(values.reshape(len(rows) * buffer.n_envs, -1))
            for name, values in (
                ("observations", buffer.observations[rows]),
                ("actions", buffer.actions[rows]),
                ("next_observations", buffer.next_observations[rows]),
                ("rewards", buffer.rewards[rows]),
                ("dones", buffer.dones[rows] * (1 - buffer.timeouts[rows])),
            )
        }
        if restore is not None:
            for name in ("observations", "next_observations"):
                batch[name] = restore(batch[name])
        yield batch


def buffer_state(buffer: ReplayBuffer) -> StateTree:
    """All that a buffer holds: views of its arrays."""
    used = slice(0, buffer.size())
    arrays: dict[str, Any] = {
        name: torch.from_numpy(getattr(buffer, name)[used]) for name in ARRAYS
    }
    return {**arrays, "pos": buffer.pos, "full": buffer.full}


def load_buffer_state(buffer: ReplayBuffer, state: StateTree) -> None:
    """Take over a state made by `buffer_state` of a buffer of the same size."""
    if isinstance(buffer, TaskReplayBuffer):
        buffer.reserve(len(state["observations"]))
        buffer.added = state["pos"] + (buffer.buffer_size if state["full"] else 0)
    for name in ARRAYS:
        getattr(buffer, name)[: len(state[name])] = state[name].numpy()
    buffer.pos, buffer.full = state["pos"], state["full"]
    if isinstance(buffer, TaskReplayBuffer) and buffer.num_tasks > 1:
        buffer.tasks = set()
        for batch in stream(buffer, buffer.size(), 4096):
            buffer.note_tasks(batch["observations"].numpy())


def pack_buffer(buffer: Any) -> Any:
    """A buffer's content for copying; a buffer of another class than ours and its base, itself."""
    if (
        type(buffer) not in (ReplayBuffer, TaskReplayBuffer, PixelReplayBuffer)
        or buffer.optimize_memory_usage
    ):
        return buffer
    used = slice(0, buffer.size())
    held = {name: (len(getattr(buffer, name)), getattr(buffer, name)[used]) for name in ARRAYS}
    attributes = {name: value for name, value in vars(buffer).items() if name not in ARRAYS}
    return PackedBuffer(type(buffer), attributes, held)


def unpack_buffer(packed: Any) -> Any:
    """The buffer that `pack_buffer` packed."""
    if not isinstance(packed, PackedBuffer):
        return packed
    buffer = object.__new__(packed.kind)
    vars(buffer).update(packed.attributes)
    for name, (room, rows) in packed.held.items():
        array = np.zeros((room, *rows.shape[1:]), rows.dtype)
        array[: len(rows)] = rows
        setattr(buffer, name, array)
    return buffer
