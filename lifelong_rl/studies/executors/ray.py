"""Processes of cells on the nodes of a Ray cluster."""

from __future__ import annotations

import os
import re
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import lifelong_rl
from lifelong_rl.errors import UserError
from lifelong_rl.storage.atomic import TEMPORARY
from lifelong_rl.storage.lock import FolderLock, lock_folder
from lifelong_rl.studies.executors.archive import land, pack, unpack
from lifelong_rl.studies.executors.executor import End, Executor, Job
from lifelong_rl.studies.executors.process import CellProcess, with_this_python
from lifelong_rl.text import one_line

SHARED = ".shared-"
"""What the name of a file beside the folders of the runs begins with, by which a node knows that it
sees the same ones; the token of one sweep follows. It is in none of them: these are for whoever has
locked them."""
RESOURCES_SECONDS = 2.0
"""Between two looks at what the cluster has."""
QUEUED = 2
"""Cells in Ray's hands for each that can run: some wait there, and other sweeps find the rest."""


class RayExecutor(Executor):
    """Runs the processes of cells as tasks of Ray, one task for each.

    A task starts the same process as a sweep on this machine does, on a node of the cluster, and
    waits for its end. Where the node sees the folder of the run, the process works there.
    Otherwise the folder is sent there, and comes back at the end. Ray does not start lost tasks
    again by itself (`max_retries=0`): their processes are ending meanwhile and still have their
    folders, so that the sweep waits for that.

    Args:
        address: Of a cluster to join: "auto", or that of its head; None starts one on this machine.
        processes: That run at a time; by default what the cluster has room for.
        device: What all cells run on, "cpu" or "cuda"; by default each cell runs on its own.
        per_device: Cells that run at a time on each GPU.
    """

    queues = True

    def __init__(
        self,
        address: str | None,
        processes: int | None = None,
        device: str | None = None,
        per_device: int = 1,
    ) -> None:
        self._address = address
        self.processes = self._most = processes
        self._device = device
        self._per_device = per_device
        self._tasks: dict[Any, _Task] = {}
        self._shared = True
        self._token = uuid4().hex
        self._marks: set[Path] = set()
        self._stopping = False
        self._looked = 0.0
        self._places = 0

    def prepare(self, devices: Collection[str], cores: int) -> None:
        """Refuse devices that Ray does not hand out."""
        self._cores = cores
        for name in [self._device] if self._device else sorted(devices):
            if name not in ("cpu", "cuda"):
                raise UserError(
                    f"on a cluster cells learn on cpu or cuda, and Ray chooses the GPU; '{name}' "
                    "names one of a machine; give --device cuda, or --device cpu"
                )

    def __enter__(self) -> RayExecutor:
        ray = _import_ray()
        if self._address and self._address != "auto":
            _refuse_silent(self._address)
        on_main_thread = threading.current_thread() is threading.main_thread()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address=self._address or "local",
                num_cpus=None if self._address or not self._most else self._most * self._cores,
                include_dashboard=None if self._address else False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = (
                f"there is no Ray cluster at {self._address}"
                if self._address
                else ("Ray cannot be started on this machine")
            )
            raise UserError(f"{where}: {one_line(str(error))}") from error
        finally:
            if on_main_thread:  # Ray's own would end this process at once
                signal.signal(signal.SIGTERM, handler)
        self._ray = ray
        self._run = ray.remote(max_retries=0)(run_on_node)
        return self

    def find_place(self, device: str) -> str | None:
        """The kind of device, while few enough cells wait at Ray."""
        most = self._most or QUEUED * max(self._places, 1)
        return (self._device or device) if len(self._tasks) < most else None

    def start(self, job: Job) -> None:
        """Hand a process to Ray."""
        self._submit(_Task(job))

    def _submit(self, task: _Task) -> None:
        job, sent = task.job, None
        if self._shared:
            mark = job.folder.with_name(f"{SHARED}{self._token}{TEMPORARY}")
            if mark not in self._marks:
                mark.touch()
                self._marks.add(mark)
        else:
            task.lock = lock_folder(job.folder)
            try:
                sent = pack(job.folder)
            except BaseException:
                task.release()
                raise
        variables = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        share = 0 if job.device == "cpu" else 1 / self._per_device
        run = self._run.options(num_cpus=job.cores, num_gpus=share, name=job.folder.name)
        ref = run.remote(job, variables, lifelong_rl.__version__, self._token, sent)
        self._tasks[ref] = task

    def collect(self) -> list[tuple[Job, End]]:
        """Ask Ray which tasks have ended."""
        if time.monotonic() - self._looked > RESOURCES_SECONDS:
            self._looked = time.monotonic()
            self._places = int(self._ray.cluster_resources().get("CPU", 0))
            self.processes = self._most or self._places
        refs = list(self._tasks)
        ready = self._ray.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []
        ended = []
        for ref in ready:
            task = self._tasks.pop(ref)
            try:
                end = self._end(task, ref)
            finally:
                task.release()
            if end is None and self._stopping:
                ended.append((task.job, End(1, b"stopped")))
            elif end is None:  # the node does not see the folder
                self._shared = False
                try:
                    self._submit(task)
                except (UserError, OSError) as error:  # in other hands meanwhile, or too large
                    ended.append((task.job, End(1, str(error).encode())))
            else:
                ended.append((task.job, end))
        return ended

    def _end(self, task: _Task, ref: Any) -> End | None:
        """How a task ended; None if it has to be sent its folder."""
        errors = self._ray.exceptions
        try:
            end, archive = self._ray.get(ref)
        except errors.TaskCancelledError:
            return End(1, b"stopped")
        except errors.RayTaskError as error:
            return End(1, f"{type(error.cause).__name__}: {one_line(str(error.cause))}".encode())
        except errors.RayError as error:
            anew = "" if self._shared else ", from its beginning"
            why = f"{type(error).__name__}: {one_line(str(error))[:200]}"
            note = f"was lost with its worker ({type(error).__name__}) and is started again{anew}"
            return End(None, why.encode(), note)
        if end is None:
            return None
        if archive is not None:
            assert task.lock is not None
            try:
                task.lock.check()
                land(archive, task.job.folder)
            except (UserError, OSError) as error:
                return End(1, str(error).encode())
        ended: End = end
        return ended

    @property
    def is_busy(self) -> bool:
        """Whether Ray has any in hand."""
        return bool(self._tasks)

    def terminate(self) -> None:
        """Cancel all tasks: those that wait are dropped, and the others end their processes."""
        self._stopping = True
        for ref in self._tasks:
            self._ray.cancel(ref)

    def kill(self) -> None:
        """Leave the cluster, which ends this sweep's workers, and with them their processes."""
        for task in self._tasks.values():
            task.release()
        self._tasks = {}
        for mark in self._marks:
            with suppress(OSError):
                mark.unlink()
        self._marks = set()
        self._ray.shutdown()

    def __str__(self) -> str:
        where = f"the Ray cluster at {self._address}" if self._address else "Ray on this machine"
        return f"on {where}" + (f", {self._most} at a time" if self._most else "")


@dataclass(eq=False)
class _Task:
    """A process that Ray has in hand.

    Attributes:
        job: The process.
        lock: Of its folder, where that was sent to a node.
    """

    job: Job
    lock: FolderLock | None = None

    def release(self) -> None:
        """Let others write to the folder."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None


def run_on_node(
    job: Job, variables: Mapping[str, str], version: str, token: str, sent: bytes | None
) -> tuple[End | None, bytes | None]:
    """Run the process of a cell on the node that this is called on.

    Args:
        job: What is run.
        variables: Of the environment, beside those of the node.
        version: Of this package, where the sweep runs.
        token: Of the sweep; where the node sees the folder of the run, it sees a file beside it
            with this in its name, see `SHARED`.
        sent: The folder as an archive, to be unpacked here.

    Returns:
        How the process ended, and the folder if it was sent. None and None if the node does not
        see the folder.
    """
    if lifelong_rl.__version__ != version:
        told = (
            f"{os.uname().nodename} has lifelong-rl {lifelong_rl.__version__}, and the sweep "
            f"{version}; install the same on all nodes"
        )
        return End(2, told.encode()), None
    try:
        return _run_here_or_there(job, variables, token, sent)
    except (UserError, OSError) as error:
        return End(1, f"{os.uname().nodename}: {error}".encode()), None


def _run_here_or_there(
    job: Job, variables: Mapping[str, str], token: str, sent: bytes | None
) -> tuple[End | None, bytes | None]:
    """`run_on_node`, with errors."""
    job = with_this_python(job)
    if sent is None:
        if not os.path.isfile(job.folder.with_name(f"{SHARED}{token}{TEMPORARY}")):
            return None, None
        return CellProcess(job, variables).wait(), None
    with tempfile.TemporaryDirectory(prefix="lifelong-rl-") as place:
        folder = Path(place) / job.folder.name
        unpack(sent, folder)
        here = replace(job, command=(*job.command[:-1], str(folder)), folder=folder)
        return CellProcess(here, variables).wait(), pack(folder)


def _refuse_silent(address: str) -> None:
    """Raise UserError unless something answers at HOST:PORT; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"[\w.-]+", host) or not port.isdecimal():
        raise UserError(
            f"--address must be auto or HOST:PORT of the cluster's head, not '{address}'"
        )
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"there is no Ray cluster at {address}: {error}") from error


def _import_ray() -> Any:
    """Ray, set to run workers as this sweep runs, in its environment, and to report nothing.

    Raises:
        UserError: It is not installed.
    """
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # by default cells give way to all else on their machine
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--executor ray needs Ray; install it with: pip install 'lifelong-rl[ray]'"
        ) from error
    return ray
