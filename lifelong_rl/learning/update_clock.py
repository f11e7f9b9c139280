"""How long a learner's updates take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time


class UpdateClock:
    """Counts a learner's updates and adds up their time.

    The time is what the CPU spends in the calling thread, so that other processes on a shared
    machine count less; simulations are stepped outside of updates.

    Attributes:
        updates: Number of updates so far.
        seconds: Time of all of them.
    """

    def __init__(self) -> None:
        self.updates = 0
        self.seconds = 0.0

    @contextmanager
    def measure(self, updates: int = 1) -> Iterator[None]:
        """What is done inside are so many updates."""
        start = thread_time()
        yield
        self.seconds += thread_time() - start
        self.updates += updates
