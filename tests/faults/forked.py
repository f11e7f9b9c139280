"""Commands in forks of this process, which has imported all that takes long.

A fork costs a fraction of a second where a new Python with torch takes six. This process may have
one thread only when it forks.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from lifelong_rl.cli import main
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.loop import SequenceLoop
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.storage import metrics_log
from lifelong_rl.storage.metrics_log import MetricsLog

PHASES = ("start", "learning", "evaluation", "writing")
WRITERS = (
    (SequenceLoop, "_save"),
    (MetricsLog, "write"),
    (MetricsLog, "show"),
    (MetricsLog, "describe"),
    (RunFolder, "write_status"),
    (RunFolder, "write_results"),
    (RunFolder, "add_session"),
)
"""Methods that do nothing but write."""


class Board:
    """What a fork is doing, in memory that it shares with its parent."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * (2 + len(PHASES)))

    def enter(self, phase: str) -> str:
        """Say that a phase begins, or goes on; returns the one before it."""
        before = self.phase
        index = PHASES.index(phase)
        self._write(1 + index, self._read(1 + index) + 1)
        self._write(0, index)
        return before

    def resume(self, phase: str) -> None:
        """Say that a phase goes on after one inside it."""
        self._write(0, PHASES.index(phase))

    @property
    def phase(self) -> str:
        return PHASES[self._read(0)]

    def entered(self, phase: str) -> int:
        """How often a phase has begun."""
        return self._read(1 + PHASES.index(phase))

    @property
    def struck(self) -> int:
        """How many faults the process has met."""
        return self._read(1 + len(PHASES))

    def strike(self) -> None:
        """Say that the process meets a fault."""
        self._write(1 + len(PHASES), self.struck + 1)

    def _read(self, index: int) -> int:
        value: int = struct.unpack_from("q", self._memory, 8 * index)[0]
        return value

    def _write(self, index: int, value: int) -> None:
        struct.pack_into("q", self._memory, 8 * index, value)


@dataclass
class Child:
    """A command in a fork.

    Attributes:
        pid: Of the process.
        board: What it is doing.
        output: File of what it prints, both streams.
        code: Its exit code, or minus the signal that ended it; None while it lives.
        seconds: How long it lived.
        signalled_in: The phase in which it was sent a signal.
    """

    pid: int
    board: Board
    output: Path
    code: int | None = None
    seconds: float = 0.0
    signalled_in: str = ""
    started: float = field(default_factory=time.monotonic)

    def poll(self) -> int | None:
        """Look whether it has ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._ended(status)
        return self.code

    def wait(self) -> int:
        """Wait for its end."""
        if self.code is None:
            self._ended(os.waitpid(self.pid, 0)[1])
        assert self.code is not None
        return self.code

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.code is None:
            self.signalled_in = self.board.phase
            os.kill(self.pid, number)

    def signal_in(self, phase: str, entrance: int, delay: float, number: int) -> None:
        """Send a signal so long after a phase has begun for the n-th time, if it comes to that."""
        while self.board.entered(phase) < entrance:
            if self.poll() is not None:
                return
            time.sleep(0.0002)
        end = time.monotonic() + delay
        while time.monotonic() < end:
            if self.poll() is not None:
                return
            time.sleep(0.0002)
        if self.poll() is None:
            self.signal(number)

    @property
    def lines(self) -> list[str]:
        """What it has printed."""
        return self.output.read_text(errors="replace").splitlines()

    def _ended(self, status: int) -> None:
        self.code = os.waitstatus_to_exitcode(status)
        self.seconds = time.monotonic() - self.started


def start(
    words: Sequence[str],
    output: Path,
    prepare: Callable[[Board], object] = lambda board: None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Child:
    """Run a command in a fork of this process.

    Args:
        words: Of the command line.
        output: File for what it prints.
        prepare: Called in the fork before the command.
        stdout: Descriptor of its standard output, where that is not the file.
        stderr: The same of its standard error.
    """
    board = Board()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Child(pid, board, output)
    code = 70
    try:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file if stdout is None else stdout, 1)
        os.dup2(file if stderr is None else stderr, 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _tell_phases(board)
        prepare(board)
        code = main(list(words))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _tell_phases(board: Board) -> None:
    """Let this process say what it is doing, and not wait for the next second when it resumes."""
    board.enter("start")

    def tell(owner: type, name: str, phase: str) -> None:
        method = getattr(owner, name)

        @wraps(method)
        def told(*arguments: Any, **options: Any) -> Any:
            before = board.enter(phase)
            try:
                return method(*arguments, **options)
            finally:
                board.resume(before)

        setattr(owner, name, told)

    tell(SequenceLoop, "_learn_task", "learning")
    tell(Evaluator, "evaluate", "evaluation")
    for owner, name in WRITERS:
        tell(owner, name, "writing")
    metrics_log.wait_for_next_name = lambda events: None
