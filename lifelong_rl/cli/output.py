"""What is printed: it never stops the work that it tells of."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast


class Output:
    """A text stream that keeps quiet once what it is written to is full or nobody reads it.

    Letters that its encoding does not have are written as escapes.

    Args:
        stream: What is written to; None where the process has none.

    Attributes:
        error: Why it keeps quiet; None as long as it does not.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: Any = open(os.devnull, "w", encoding="utf-8") if stream is None else stream  # noqa: SIM115
        self.error: OSError | None = None
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write, or keep quiet."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._keep_quiet(error)
        return len(text)

    def flush(self) -> None:
        """Flush, or keep quiet."""
        try:
            self._stream.flush()
        except OSError as error:
            self._keep_quiet(error)

    def __getattr__(self, name: str) -> Any:
        """Whatever else the stream has."""
        return getattr(self._stream, name)

    @property
    def lost(self) -> bool:
        """Whether somebody misses what was written: not who closed the pipe, as `head` does."""
        return self.error is not None and self.error.errno != errno.EPIPE

    def _keep_quiet(self, error: OSError) -> None:
        """Let this and what is buffered go nowhere, or Python would try again when it ends."""
        self.error = self.error or error
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def patient_output() -> Iterator[Output]:
    """Let stdout and stderr be such as nothing depends on; yields stdout."""
    for descriptor in range(3):  # or a file that is opened next would be taken for one of them
        with suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    out, err = Output(sys.stdout), Output(sys.stderr)
    with redirect_stdout(cast(TextIO, out)), redirect_stderr(cast(TextIO, err)):
        try:
            yield out
        finally:
            out.flush()
            err.flush()
