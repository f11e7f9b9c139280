"""Processes of cells on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Sequence
from itertools import chain

from lifelong_rl.learning.devices import spread
from lifelong_rl.studies.executors.executor import KEPT, End, Executor, Job


class LocalExecutor(Executor):
    """Runs the processes of cells on this machine, so many at a time.

    Args:
        processes: That run at a time.
        devices: What all cells run on, each on the one of these that has the fewest; by default
            each cell runs on its own. See `lifelong_rl.learning.devices.spread`.
        per_device: Cells that run at a time on each GPU, within those of `processes`.
    """

    def __init__(self, processes: int, devices: Sequence[str] = (), per_device: int = 1) -> None:
        self.processes = processes
        self._asked = devices
        self._per_device = per_device
        self._running: list[_Process] = []

    def prepare(self, devices: Collection[str]) -> None:
        """Find the GPUs that cells are spread over."""
        self._devices = {name: spread(self._asked or [name]) for name in devices}
        names = dict.fromkeys(chain(*self._devices.values()))
        self.gpus = tuple(name for name in names if name != "cpu")
        if self.gpus and all("cpu" not in names for names in self._devices.values()):
            self.processes = min(self.processes, self._per_device * len(self.gpus))

    def find_place(self, device: str) -> str | None:
        """Of the devices that have room the one with the fewest cells."""
        if len(self._running) >= self.processes:
            return None
        names = self._devices[device]
        if names == ["cpu"]:
            return "cpu"
        busy = [process.job.device for process in self._running]
        place = min(names, key=busy.count)
        return place if busy.count(place) < self._per_device else None

    def start(self, job: Job) -> None:
        """Start a process, in a group of its own so that Ctrl-C comes to the sweep alone."""
        self._running.append(_Process(job))

    def collect(self) -> list[tuple[Job, End]]:
        """Read what the processes write, and find those that have ended."""
        ended = []
        for process in list(self._running):
            code = process.popen.poll()
            process.read()
            if code is not None:
                self._running.remove(process)
                process.close()
                ended.append((process.job, End(code, process.stderr)))
        return ended

    def terminate(self) -> None:
        """Send SIGTERM to all."""
        for process in self._running:
            process.popen.terminate()

    def kill(self) -> None:
        """Send SIGKILL to all."""
        for process in self._running:
            process.popen.kill()
            process.popen.wait()
            process.close()
        self._running = []

    def __str__(self) -> str:
        places = f" on {', '.join(self.gpus)}" if self.gpus else ""
        return f"{self.processes} at a time{places}"


class _Process:
    """A process, and the end of what it has written to stderr."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stderr = b""
        self.popen = subprocess.Popen(
            job.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=job.environment(),
            process_group=0,
            bufsize=0,
        )
        assert self.popen.stderr is not None
        os.set_blocking(self.popen.stderr.fileno(), False)

    def read(self) -> None:
        """Take what is there, so that the process never waits for its reader."""
        assert self.popen.stderr is not None
        self.stderr = (self.stderr + (self.popen.stderr.read() or b""))[-KEPT:]

    def close(self) -> None:
        """Close the pipes."""
        assert self.popen.stdin is not None and self.popen.stderr is not None
        self.popen.stdin.close()
        self.popen.stderr.close()
