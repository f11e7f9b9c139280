"""How long a learner's updates take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, thread_time

import torch

from lifelong_rl.learning.devices import synchronize

CPU = torch.device("cpu")


class UpdateClock:
    """Counts a learner's updates and adds up their time.

    On the CPU the time is what it spends in the calling thread, so that other processes on a shared
    machine count less; simulations are stepped outside of updates. On a GPU it is the time that
    passes until all that it was given is done.

    Args:
        device: That the learner's networks are on.

    Attributes:
        updates: Number of updates so far.
        seconds: Time of all of them.
    """

    def __init__(self, device: torch.device = CPU) -> None:
        self.device = device
        self.updates = 0
        self.seconds = 0.0

    @contextmanager
    def measure(self, updates: int = 1) -> Iterator[None]:
        """What is done inside are so many updates."""
        read = thread_time if self.device.type == "cpu" else perf_counter
        synchronize(self.device)  # what was begun before is not theirs
        start = read()
        yield
        synchronize(self.device)
        self.seconds += read() - start
        self.updates += updates
