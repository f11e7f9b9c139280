"""The process of a cell and the pipes to it, on whatever machine it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace

from lifelong_rl.studies.executors.executor import KEPT, End, Job

POLL_SECONDS = 0.05
"""Between two looks at a process that is waited for."""


class CellProcess:
    """A process, in a group of its own so that Ctrl-C comes to the sweep alone.

    Args:
        job: What is run.
        variables: Of the environment, beside those of this process.

    Attributes:
        job: What is run.
        popen: The process.
        stderr: The end of what it has written to stderr, as far as it was read.
    """

    def __init__(self, job: Job, variables: Mapping[str, str] | None = None) -> None:
        self.job = job
        self.stderr = b""
        self.popen = subprocess.Popen(
            job.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **(variables or {}), "OMP_NUM_THREADS": str(job.threads)},
            process_group=0,
            bufsize=0,
        )
        assert self.popen.stderr is not None
        os.set_blocking(self.popen.stderr.fileno(), False)

    def read(self) -> None:
        """Take what is there, so that the process never waits for its reader."""
        assert self.popen.stderr is not None
        if not self.popen.stderr.closed:
            self.stderr = (self.stderr + (self.popen.stderr.read() or b""))[-KEPT:]

    def wait(self) -> End:
        """Wait until it has ended by itself.

        If something comes between, such as Ctrl-C, its stdin is closed, which ends it, and it is
        waited for until it has kept what it can.
        """
        assert self.popen.stdin is not None
        try:
            self._read_to_end()
        finally:
            self.popen.stdin.close()
            self._read_to_end()
            self.close()
        return End(self.popen.returncode, self.stderr)

    def interrupt(self, number: int) -> None:
        """Send a signal that asks it to keep what it can, and wait until it has ended.

        It may be called by a handler of signals, in the middle of `wait`: also where that has the
        lock within `Popen.poll`, which then never tells of the end.
        """
        self.popen.send_signal(number)
        while self.popen.returncode is None:
            try:
                pid, status = os.waitpid(self.popen.pid, os.WNOHANG)
            except ChildProcessError:  # `poll` was faster
                break
            if pid:
                self.popen.returncode = os.waitstatus_to_exitcode(status)
            self.read()
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Close the pipes."""
        assert self.popen.stdin is not None and self.popen.stderr is not None
        self.popen.stdin.close()
        self.popen.stderr.close()

    def _read_to_end(self) -> None:
        while self.popen.poll() is None:
            self.read()
            time.sleep(POLL_SECONDS)
        self.read()


def with_this_python(job: Job) -> Job:
    """The same process with the Python of this machine, which may lie elsewhere."""
    return replace(job, command=(sys.executable, *job.command[1:]))
