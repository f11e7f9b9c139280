"""The ways in which a run that had begun ends before its last task."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class RunFailed(Exception):
    """It cannot go on; the message is one line. The last checkpoint is intact."""


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
    """SIGTERM or SIGHUP, raised where the program is.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def stopping_exit_code(error: KeyboardInterrupt) -> int:
    """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + (error.number if isinstance(error, Terminated) else signal.SIGINT)


@contextmanager
def raise_when_stopped() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception, as Ctrl-C is.

    A terminal that is closed sends SIGHUP; under `nohup` it is ignored, and stays so.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
