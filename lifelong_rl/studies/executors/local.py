"""Processes of cells on this machine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain

from lifelong_rl.learning.devices import spread
from lifelong_rl.studies.executors.executor import End, Executor, Job
from lifelong_rl.studies.executors.process import CellProcess


class LocalExecutor(Executor):
    """Runs the processes of cells on this machine, so many at a time.

    Args:
        processes: That run at a time.
        devices: What all cells run on, each on the one of these that has the fewest; by default
            each cell runs on its own. See `lifelong_rl.learning.devices.spread`.
        per_device: Cells that run at a time on each GPU, within those of `processes`.
    """

    def __init__(self, processes: int, devices: Sequence[str] = (), per_device: int = 1) -> None:
        self.processes: int = processes
        self._asked = devices
        self._per_device = per_device
        self._running: list[CellProcess] = []

    def prepare(self, devices: Collection[str], cores: int) -> None:
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
        """Start a process."""
        self._running.append(CellProcess(job))

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

    @property
    def is_busy(self) -> bool:
        """Whether any is left."""
        return bool(self._running)

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
