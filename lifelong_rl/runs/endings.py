"""The ways in which a run that had begun ends before its last task."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Ctrl-C, what asks a process to end, a terminal that is closed, and a scheduler's warning."""


class RunFailed(Exception):
    """It cannot go on. The last checkpoint is intact.

    Args:
        problem: Where it stopped and why, in one line.
        kept: What is kept of it, in one line.
    """

    def __init__(self, problem: str, kept: str) -> None:
        super().__init__(f"{problem}; {kept}")
        self.problem = problem


class RunStopped(Exception):
    """The user or the system asked it to stop; it can be resumed.

    Args:
        message: One line.
        exit_code: See `stopping_exit_code`.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Terminated(KeyboardInterrupt):
    """One of the signals `NUMBERS`, raised where the program is or where it says.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def stopping_exit_code(error: KeyboardInterrupt) -> int:
    """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, 138 after SIGUSR1."""
    return 128 + (error.number if isinstance(error, Terminated) else signal.SIGINT)


class StopRequest:
    """What is done about a signal that asks to stop.

    It is raised where the program is; within `deferred` at its end, or by `obey` before. A second
    Ctrl-C does not wait. Other signals that come after the first change nothing: schedulers send
    several, to every process.

    Attributes:
        pending: Number of the signal that waits to be obeyed.
    """

    def __init__(self) -> None:
        self.pending: int | None = None
        self._obeyed = False
        self._deferred = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let what is done inside come to its end, unless it calls `obey`."""
        self._deferred = True
        try:
            yield
            self.obey()
        finally:
            self._deferred = False

    def obey(self) -> None:
        """Raise `Terminated` if a signal waits."""
        if self.pending is not None and not self._obeyed:
            self._obeyed = True
            raise Terminated(self.pending)

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """Take a signal."""
        first = self.pending is None
        if first:
            self.pending = number
        if number == signal.SIGINT and not first:
            self._obeyed = True
            raise Terminated(number)
        if first and not self._deferred:
            self.obey()


@contextmanager
def raise_when_stopped() -> Iterator[StopRequest]:
    """Turn the signals `NUMBERS` into an exception.

    What is ignored stays so: SIGHUP is under `nohup`, and Ctrl-C in the background of a script.
    Python gives signals to the main thread alone, so in another thread none is taken.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in NUMBERS}
    taken = {n: h for n, h in before.items() if h is not signal.SIG_IGN and h is not None}
    for number in taken:
        signal.signal(number, request.handle)
    try:
        yield request
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
