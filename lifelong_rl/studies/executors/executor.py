"""What a sweep asks of whatever runs the processes of its cells."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

KEPT = 1 << 16
"""Bytes at the end of stderr that are kept."""


@dataclass(frozen=True)
class Job:
    """The process of one cell.

    Attributes:
        command: Program and arguments; the last one is the folder of the run. It has a pipe as
            stdin, and must end when that is closed.
        folder: Of the run.
        device: That it learns on, as `Executor.find_place` named it.
        threads: Of each torch operation.
        cores: That it keeps busy.
    """

    command: tuple[str, ...]
    folder: Path
    device: str
    threads: int
    cores: int


@dataclass(frozen=True)
class End:
    """How the process of a cell ended.

    Attributes:
        code: What it returned, or minus the number of the signal that ended it; None if the
            machine that ran it was lost, so that it may be started again.
        stderr: The end of what it wrote.
        note: What should be known of how it was run.
    """

    code: int | None
    stderr: bytes = b""
    note: str = ""


class Executor(ABC):
    """Runs the processes of cells.

    It is entered before the first is started; leaving it ends those that still run.

    Attributes:
        processes: That run at a time; None if that is not known, or not limited.
        poll_seconds: Between two looks at the processes.
        queues: Whether a process may have to wait after it was started.
        gpus: That cells run on, where it tells them apart.
    """

    processes: int | None
    queues = False
    poll_seconds = 0.1
    gpus: tuple[str, ...] = ()

    @abstractmethod
    def prepare(self, devices: Collection[str], cores: int) -> None:
        """Find out what cells can run on; nothing is started.

        Args:
            devices: That they are for.
            cores: That one keeps busy, at most.

        Raises:
            UserError: One is not there.
        """

    @abstractmethod
    def find_place(self, device: str) -> str | None:
        """The device that a cell for `device` would run on now; None if there is no room."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Take a process on.

        Raises:
            OSError: It cannot be started.
        """

    def flush(self) -> None:  # noqa: B027 (most start each process at once)
        """Start those that were taken on since the last call.

        Raises:
            UserError: They cannot be started, nor could others.
        """

    @abstractmethod
    def collect(self) -> list[tuple[Job, End]]:
        """Processes that have ended since the last call."""

    @property
    @abstractmethod
    def is_busy(self) -> bool:
        """Whether there are processes whose end `collect` has not told yet."""

    @abstractmethod
    def terminate(self) -> None:
        """Ask all processes to end."""

    @abstractmethod
    def kill(self) -> None:
        """End all processes at once; returns when they have ended."""

    @abstractmethod
    def __str__(self) -> str:
        """Where and how many at a time, such as "2 at a time"."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
