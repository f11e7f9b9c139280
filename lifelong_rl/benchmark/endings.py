"""The ways in which a run that had begun ends before its last task."""

from __future__ import annotations


class RunFailed(Exception):
    """It cannot go on; the message is one line. The last checkpoint is intact."""


class RunStopped(Exception):
    """The user or the system asked it to stop; it can be resumed.

    Args:
        message: One line.
        exit_code: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
