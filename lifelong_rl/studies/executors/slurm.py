"""Processes of cells as jobs of Slurm, submitted as arrays by submitit."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lifelong_rl.errors import UserError
from lifelong_rl.options import Count, DeclaredOptions, Positive
from lifelong_rl.storage.lock import FolderLock, lock_folder
from lifelong_rl.studies.executors.archive import copy, land_copy
from lifelong_rl.studies.executors.executor import End, Executor, Job
from lifelong_rl.studies.executors.process import CellProcess, with_this_python
from lifelong_rl.text import one_line

JOBS = ".slurm"
"""Folder beside those of the cells: scripts, logs and results of the jobs."""
ARRAY = 1000
"""Jobs in one array; Slurm allows 1001 unless it is told otherwise."""
TIMEOUTS = 1000
"""Times that a job may come to its time limit; it goes on where it was, so that it gets on."""
SIGNAL = "USR1"
"""What Slurm sends before the time limit; a cell keeps where it is, and ends."""
SIGNAL_OF_SUBMITIT = "SUBMITIT_PREEMPT_SIGNAL"
"""Variable by which submitit knows it."""
LOG_OF_SUBMITIT = "SUBMITIT_LOG_LEVEL"
"""Variable that says whether submitit sets up logging."""


class Slurm:
    """What Slurm is asked for; a holder of options."""

    @dataclass(frozen=True, kw_only=True)
    class Options(DeclaredOptions):
        """What Slurm is asked for.

        Attributes:
            partition: Where the jobs run; by default Slurm's own.
            account: That pays for them.
            time_limit: Minutes of each job. Before its end the cell keeps where it is, and the job
                waits for its turn to go on.
            notice: Seconds before the time limit at which that begins.
            memory: GB of each job; by default Slurm's own.
            prologue: Shell commands before each cell, such as those that load modules or activate
                an environment.
            scratch: Folder on the node's own disk, such as $TMPDIR: a cell works there, and its
                folder comes back when it ends or is interrupted.
            sbatch: Further parameters of sbatch, such as qos=long.
            cluster: Where jobs go: slurm, or local, which runs them on this machine for a trial.
        """

        partition: str | None = None
        account: str | None = None
        time_limit: Count = 60
        notice: Count = 120
        memory: Positive | None = None
        prologue: tuple[str, ...] = ()
        scratch: str | None = None
        sbatch: tuple[str, ...] = ()
        cluster: Literal["slurm", "local"] = "slurm"


class SlurmExecutor(Executor):
    """Runs the processes of cells as jobs of Slurm, on nodes that share the folder of the runs.

    The jobs live without the sweep: if that is killed they come to their end, and the next sweep
    finds what they have left. One that is stopped cancels them.

    Args:
        runs: Folder of the runs; all nodes see it under this name.
        options: What Slurm is asked for.
        processes: That run at a time; by default as many as Slurm lets, or this machine has cores.
        device: What all cells run on, "cpu" or "cuda"; by default each cell runs on its own.
    """

    queues = True
    poll_seconds = 1.0

    def __init__(
        self,
        runs: Path,
        options: Slurm.Options,
        processes: int | None = None,
        device: str | None = None,
    ) -> None:
        if options.notice >= 60 * options.time_limit:
            raise UserError(
                f"notice={options.notice} seconds before the time limit is before the beginning of "
                f"a job of time_limit={options.time_limit} minutes; give more or less"
            )
        if options.cluster == "local" and options.prologue:
            raise UserError("with cluster=local jobs run as this sweep does; leave prologue out")
        self._folder = runs.absolute() / JOBS
        self._options = options
        on_this_machine = os.cpu_count() if options.cluster == "local" else None
        self.processes = processes or on_this_machine
        self._device = device
        self._waiting: list[Job] = []
        self._jobs: dict[Path, tuple[Job, Any]] = {}

    def prepare(self, devices: Collection[str], cores: int) -> None:
        """Refuse devices that Slurm does not hand out."""
        for name in [self._device] if self._device else sorted(devices):
            if name not in ("cpu", "cuda"):
                raise UserError(
                    f"on a cluster cells learn on cpu or cuda, and Slurm chooses the GPU; '{name}' "
                    "names one of a machine; give --device cuda, or --device cpu"
                )

    def __enter__(self) -> SlurmExecutor:
        submitit = _import_submitit()
        self._errors = submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError
        try:
            self._submitit = submitit.AutoExecutor(
                self._folder, cluster=self._options.cluster, slurm_max_num_timeout=TIMEOUTS
            )
        except RuntimeError as error:
            raise UserError(
                f"there is no Slurm here: {one_line(str(error))}; run the sweep where sbatch is, "
                "or print commands for another scheduler with --print-commands"
            ) from error
        return self

    def find_place(self, device: str) -> str | None:
        """The kind of device; the queue is Slurm's, but for a trial on this machine."""
        if self._options.cluster == "local":
            assert self.processes is not None
            if len(self._jobs) + len(self._waiting) >= self.processes:
                return None
        return self._device or device

    def start(self, job: Job) -> None:
        """Put a process into the next array."""
        self._waiting.append(job)

    def flush(self) -> None:
        """Submit an array for each kind of job."""
        waiting, self._waiting = self._waiting, []
        kinds: dict[tuple[str, int], list[Job]] = {}
        for job in waiting:
            kinds.setdefault((job.device, job.cores), []).append(job)
        for (device, cores), jobs in kinds.items():
            self._submitit.update_parameters(**self._parameters(device, cores))
            for first in range(0, len(jobs), ARRAY):
                self._submit(jobs[first : first + ARRAY])

    def _submit(self, jobs: list[Job]) -> None:
        submitted = []
        try:
            with self._submitit.batch():
                for job in jobs:
                    submitted.append(self._submitit.submit(CellJob(job, self._options.scratch)))
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            raise UserError(f"the jobs cannot be submitted: {one_line(str(error))}") from error
        self._jobs |= {job.folder: (job, at) for job, at in zip(jobs, submitted, strict=True)}

    def _parameters(self, device: str, cores: int) -> dict[str, Any]:
        """What submitit is told, by its names."""
        asked = self._options
        parameters = {
            "name": "lifelong-rl",
            "timeout_min": asked.time_limit,
            "cpus_per_task": cores,
            "gpus_per_node": 0 if device == "cpu" else 1,
            "mem_gb": asked.memory,
            "slurm_partition": asked.partition,
            "slurm_account": asked.account,
            "slurm_signal_delay_s": asked.notice,
            "slurm_array_parallelism": self.processes or ARRAY,
            "slurm_setup": [f"export {SIGNAL_OF_SUBMITIT}={SIGNAL}", *asked.prologue],
            "slurm_additional_parameters": {
                "requeue": True,
                **dict(_split(word) for word in asked.sbatch),
            },
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def collect(self) -> list[tuple[Job, End]]:
        """Find the jobs that have ended."""
        ended = []
        for job, submitted in list(self._jobs.values()):
            if submitted.done():
                del self._jobs[job.folder]
                ended.append((job, self._find_end(submitted)))
        return ended

    def _find_end(self, submitted: Any) -> End:
        try:
            end: End = submitted.result()
        except self._errors as error:
            told = str(error).strip().splitlines()
            return End(1, (told[-1] if told else "the job left no result").encode())
        return end

    @property
    def is_busy(self) -> bool:
        """Whether any was submitted and has not ended."""
        return bool(self._jobs)

    def terminate(self) -> None:
        """Cancel all jobs; Slurm tells only later that they have ended, so that counts as done."""
        self._waiting = []
        for _, submitted in self._jobs.values():
            submitted.cancel(check=False)
        if self._options.cluster == "slurm":
            self._jobs = {}

    def kill(self) -> None:
        """Cancel what is left."""
        for _, submitted in self._jobs.values():
            submitted.cancel(check=False)
        self._jobs = {}

    def __str__(self) -> str:
        where = "Slurm" if self._options.cluster == "slurm" else "this machine, as jobs of submitit"
        return f"on {where}" + (f", {self.processes} at a time" if self.processes else "")


class CellJob:
    """What a job does: the process of a cell, and what happens before the time limit.

    Args:
        job: The process.
        scratch: Folder of the node to work in; variables of the environment stand for their values.
    """

    def __init__(self, job: Job, scratch: str | None) -> None:
        self.job = job
        self.scratch = scratch
        self._process: CellProcess | None = None
        self._lock: FolderLock | None = None
        self._there: Path | None = None

    def __call__(self) -> End:
        """Run the process, and return how it ended."""
        job = with_this_python(self.job)
        try:
            return self._run(job) if self.scratch is None else self._run_in_scratch(job)
        except (UserError, OSError) as error:
            return End(1, f"{os.uname().nodename}: {error}".encode())

    def checkpoint(self) -> Any:
        """Let the process keep where it is and end, because the time limit is near.

        Returns:
            What submitit puts into the queue again.
        """
        if self._process is not None:
            self._process.interrupt(signal.SIGUSR1)
            self._come_back()
        return _import_submitit().helpers.DelayedSubmission(CellJob(self.job, self.scratch))

    def _run(self, job: Job) -> End:
        self._process = CellProcess(job)
        return self._process.wait()

    def _run_in_scratch(self, job: Job) -> End:
        """Run it in a folder of the node, while the folder of the run is kept from others."""
        assert self.scratch is not None
        place = Path(os.path.expandvars(self.scratch))
        if "$" in str(place):
            raise UserError(f"the scratch folder '{self.scratch}' has a variable that is not set")
        self._lock = lock_folder(job.folder)
        try:
            with tempfile.TemporaryDirectory(prefix="lifelong-rl-", dir=place) as made:
                there = Path(made) / job.folder.name
                copy(job.folder, there)
                self._there = there
                here = replace(job, command=(*job.command[:-1], str(there)), folder=there)
                end = self._run(here)
                self._come_back()
                return end
        finally:
            self._lock.release()

    def _come_back(self) -> None:
        """Put what was made in a folder of the node into that of the run."""
        if self._there is not None and self._lock is not None:
            self._lock.check()
            land_copy(self._there, self.job.folder)
            self._there = None  # it is being removed when a late signal comes


def _split(word: str) -> tuple[str, str | bool]:
    """A parameter of sbatch: its name and its value, or True for one without."""
    name, equals, value = word.partition("=")
    return name, value if equals else True


def _import_submitit() -> Any:
    """submitit, told which signal Slurm sends.

    Raises:
        UserError: It is not installed.
    """
    os.environ[SIGNAL_OF_SUBMITIT] = SIGNAL
    level = os.environ.get(LOG_OF_SUBMITIT)
    # it would set up logging, which closes the handlers of others, and absl's its stream with it
    os.environ[LOG_OF_SUBMITIT] = "NOCONFIG"
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            "--executor slurm needs submitit; install it with: pip install 'lifelong-rl[slurm]'"
        ) from error
    finally:
        del os.environ[LOG_OF_SUBMITIT]
        if level is not None:
            os.environ[LOG_OF_SUBMITIT] = level
    submitit.JobEnvironment.USR_SIG = SIGNAL  # if it was imported before
    return submitit
