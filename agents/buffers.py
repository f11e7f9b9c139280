"""What continual learning asks of Stable-Baselines3's replay buffer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer

from lifelong_rl.learning import Batch, StateTree

ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def stream(buffer: ReplayBuffer, last: int, batch_size: int) -> Iterator[Batch]:
    """The transitions of the last steps of a buffer once, oldest first.

    Args:
        buffer: Holds one transition of each environment per step.
        last: Number of steps, from the latest one back; those that are still held.
        batch_size: About how many transitions to give at a time.

    Yields:
        "observations", "actions", "next_observations", "rewards" and "dones", (n, ...) each. An
        episode that ran out of time is not done.
    """
    steps = min(last, buffer.size())
    order = (buffer.pos - steps + np.arange(steps)) % buffer.buffer_size
    at_once = max(1, batch_size // buffer.n_envs)
    for first in range(0, len(order), at_once):
        rows = order[first : first + at_once]
        yield {
            name: buffer.to_torch(values.reshape(len(rows) * buffer.n_envs, -1))
            for name, values in (
                ("observations", buffer.observations[rows]),
                ("actions", buffer.actions[rows]),
                ("next_observations", buffer.next_observations[rows]),
                ("rewards", buffer.rewards[rows]),
                ("dones", buffer.dones[rows] * (1 - buffer.timeouts[rows])),
            )
        }


def buffer_state(buffer: ReplayBuffer) -> StateTree:
    """All that a buffer holds."""
    used = slice(0, buffer.size())
    arrays: dict[str, Any] = {
        name: torch.from_numpy(getattr(buffer, name)[used].copy()) for name in ARRAYS
    }
    return {**arrays, "pos": buffer.pos, "full": buffer.full}


def load_buffer_state(buffer: ReplayBuffer, state: StateTree) -> None:
    """Take over a state made by `buffer_state` of a buffer of the same size."""
    for name in ARRAYS:
        getattr(buffer, name)[: len(state[name])] = state[name].numpy()
    buffer.pos, buffer.full = state["pos"], state["full"]
