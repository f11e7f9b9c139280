"""Running the cells of a study, each in a process of its own, until none is left to do."""

from __future__ import annotations

import contextlib
import heapq
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any, Literal

from lifelong_rl.errors import UserError
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import CHECKPOINT, RunFolder, notes_of
from lifelong_rl.storage.atomic import WriteError, write_file
from lifelong_rl.storage.json_file import parse_json
from lifelong_rl.storage.lock import is_locked
from lifelong_rl.storage.plain_file import NotPlainError, read_bytes
from lifelong_rl.studies.executors.executor import KEPT, End, Executor, Job
from lifelong_rl.studies.study import Cell
from lifelong_rl.text import one_line

CELL = (sys.executable, "-P", "-m", "lifelong_rl.studies.cell")
"""Program that runs or resumes the run in the folder named after it; -P keeps the modules of the
working directory from taking the place of others."""
LOG = "sweep.log"
"""In the folder of a cell that failed: what its process wrote to stderr."""
LOOK_ELSEWHERE_SECONDS = 2.0
"""Between two looks at the cells that run elsewhere."""

MOST_LOST = 10
"""Times that a cell is started again after what ran it was lost."""
STOPPED = tuple(
    code
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM)
    for code in (128 + number, -number)
)
"""Exit codes of a cell that was asked to end, such as by a cluster that needs the node; negative if
it had not begun its run."""

State = Literal["to do", "queued", "running", "running elsewhere", "finished", "failed", "left out"]


@dataclass(eq=False)
class Entry:
    """How a cell stands.

    Attributes:
        cell: The cell.
        state: "running" means in a process of this sweep, "queued" that its executor has it wait,
            "left out" that its method cannot serve its agent.
        message: Why it failed, was left out, or is to do again; what should be known of it if it
            has finished.
        seconds: What it took, if it is finished: learning and evaluating, all sessions together.
        startup: Seconds from the start of its process to the begin of its run, as the last one took
            that has begun; None before that.
        fraction: Of its steps that are done: by its metrics if it is running, by its checkpoints
            if it is to do.
        fraction_before: The same when this sweep started it.
        started: Of the process of this sweep, on the monotonic clock.
        device: What it runs on in the process of this sweep.
        lost: How many times what ran it was lost.
    """

    cell: Cell
    state: State = "to do"
    message: str = ""
    seconds: float = 0.0
    startup: float | None = None
    fraction: float = 0.0
    fraction_before: float = 0.0
    started: float = 0.0
    device: str = ""
    lost: int = 0


class SweepReporter:
    """Is told how a sweep goes. This one keeps quiet."""

    def begin(self, loop: SweepLoop) -> None:
        """The first cells are about to be started."""

    def changed(self, entry: Entry) -> None:
        """A cell was started, has ended, or was found to be done or running elsewhere."""

    def tick(self) -> None:
        """Some time has gone by."""

    def end(self) -> None:
        """The sweep has ended, in whatever way."""


class SweepLoop:
    """Runs cells, several at a time.

    What is finished is left alone, what was stopped goes on from its last checkpoint, and a cell
    that fails does not keep the others from being run. A cell that another process is running is
    waited for, and gone on with should that process leave it. What the folders hold is all that
    is known of earlier sweeps, so that a sweep can be killed at any moment and started again.

    Args:
        cells: In the order in which they are to be run.
        command: Program and arguments that run or resume the run in the folder that is added as
            the last argument. It has a pipe as stdin, and must end when that is closed.
        executor: Runs them, several at a time.

    Attributes:
        entries: One for each cell.
        executor: Runs them.

    Raises:
        UserError: A cell has an option that its agent or method does not accept, or a sequence
            that its agent cannot learn; or a device is not there.
    """

    def __init__(self, cells: Iterable[Cell], command: Sequence[str], executor: Executor) -> None:
        self.entries = [Entry(cell) for cell in cells]
        self.executor = executor
        configs = [entry.cell.setup.config for entry in self.entries]
        executor.prepare({c.device for c in configs}, max(map(_cores, configs), default=1))
        self._command = command
        self._running: dict[Path, Entry] = {}
        self._looked_elsewhere = 0.0
        for entry in self.entries:
            self._look(entry)
        self._leave_out_what_makes_no_sense()

    def run(self, reporter: SweepReporter | None = None) -> None:
        """Run all cells that are to do.

        Args:
            reporter: Is told how it goes.

        Raises:
            KeyboardInterrupt: Ctrl-C; the cells that were running have been stopped, and can go
                on. Another Ctrl-C while they stop kills them.
        """
        self._reporter = reporter or SweepReporter()
        self._reporter.begin(self)
        try:
            with self.executor:
                self._run()
        finally:
            self._reporter.end()

    def _run(self) -> None:
        try:
            while True:
                self._collect()
                self._look_elsewhere()
                self._start()
                if not self._running and not self.entries_in("running elsewhere"):
                    break
                self._reporter.tick()
                time.sleep(self.executor.poll_seconds)
        except KeyboardInterrupt:
            self._stop()
            raise

    def seconds_left(self) -> float | None:
        """Estimate of the time to the end; None before anything is known."""
        estimate = Estimate(self.entries)
        processes = self.executor.processes or len(self.entries)
        busy: list[float] = []
        end = 0.0
        for state in ("running", "running elsewhere", "queued", "to do"):
            for entry in self.entries_in(state):
                seconds = estimate.seconds_left(entry)
                if seconds is None:
                    return None
                waits = state in ("queued", "to do") and len(busy) >= processes
                ends = seconds + (heapq.heappop(busy) if waits else 0.0)
                heapq.heappush(busy, ends)
                end = max(end, ends)
        return end

    def look_again(self) -> None:
        """Find out how cells stand that other processes run, and what failed there."""
        for entry in self.entries:
            if entry.state in ("to do", "running elsewhere", "failed"):
                entry.message = ""
                self._look(entry)
                if entry.state == "to do" and (failure := find_failure(entry.cell)):
                    entry.state, entry.message = "failed", failure
        self.executor.processes = max(len(self.entries_in("running elsewhere")), 1)

    def entries_in(self, state: State) -> list[Entry]:
        """The cells that stand so."""
        return [entry for entry in self.entries if entry.state == state]

    def _leave_out_what_makes_no_sense(self) -> None:
        """Try every pair of agent and method that has cells to do, whatever their seeds."""
        tried: dict[str, str | None] = {}
        for entry in self.entries_in("to do"):
            kind = repr({**entry.cell.setup.config.as_dict(), "seed": None})
            if kind not in tried:
                try:
                    tried[kind] = entry.cell.find_refusal()
                except UserError as error:
                    raise UserError(f"{entry.cell.name}: {error}") from error
            refusal = tried[kind]
            if refusal is not None:
                entry.state, entry.message = "left out", refusal

    def _look(self, entry: Entry, failure: str = "") -> None:
        """Find out how a cell stands that this sweep is not running.

        Args:
            entry: Of the cell.
            failure: Why it failed, if it did; a process elsewhere may still have it in hand.
        """
        cell = entry.cell
        try:
            entry.state = cell.find_state()
            if entry.state == "finished":
                folder = RunFolder(cell.path, cell.setup.config)
                entry.seconds = folder.results()["cost"]["seconds"]
                entry.startup = _find_startup(cell)
            elif entry.state == "to do" and failure:
                entry.state, entry.message = "failed", failure
            kept = entry.state == "to do"
            entry.fraction = _fraction_kept(cell) if kept else find_fraction(cell)
        except (UserError, OSError) as error:
            entry.state, entry.message = "failed", str(error)

    def _look_elsewhere(self) -> None:
        if time.monotonic() - self._looked_elsewhere < LOOK_ELSEWHERE_SECONDS:
            return
        self._looked_elsewhere = time.monotonic()
        for entry in self.entries_in("running elsewhere"):
            self._look(entry)
            if entry.state != "running elsewhere":
                entry.message = entry.message if entry.state == "failed" else ""
                self._reporter.changed(entry)
        if self.executor.queues:
            for entry in self._running.values():
                self._look_at_queued(entry)

    def _look_at_queued(self, entry: Entry) -> None:
        """Find out whether a cell that an executor has in hand has begun, and how far it is."""
        if entry.state == "queued" and is_locked(entry.cell.path):
            entry.state, entry.started = "running", time.monotonic()
        entry.fraction = find_fraction(entry.cell)

    def _start(self) -> None:
        """Start cells while there is room."""
        for entry in self.entries_in("to do"):
            device = self.executor.find_place(entry.cell.setup.config.device)
            if device is None:
                continue  # another cell may be for another device
            self._look(entry)  # another sweep may have been faster
            if entry.state == "to do":
                self._start_process(entry, device)
            self._reporter.changed(entry)
        self.executor.flush()

    def _start_process(self, entry: Entry, device: str) -> None:
        cell, config = entry.cell, entry.cell.setup.config
        on = () if device == config.device else ("--device", device)
        folder = cell.path.absolute() if self.executor.queues else cell.path
        command = (*self._command, *on, str(folder))
        try:
            _make_folder(cell)
            self.executor.start(Job(command, folder, device, config.threads, _cores(config)))
        except (UserError, OSError) as error:
            self._look(entry, str(error))
            return
        self._running[folder] = entry
        entry.state = "queued" if self.executor.queues else "running"
        entry.started, entry.device, entry.message = time.monotonic(), device, ""
        entry.fraction_before = entry.fraction

    def _collect(self) -> None:
        """See how the processes are doing."""
        for job, end in self.executor.collect():
            self._end(self._running.pop(job.folder), end)
        if not self.executor.queues:
            for entry in self._running.values():
                entry.fraction = find_fraction(entry.cell)
                if entry.startup is None and entry.fraction > entry.fraction_before:
                    entry.startup = _find_startup(entry.cell)

    def _end(self, entry: Entry, end: End) -> None:
        stopped = self.executor.queues and end.code in STOPPED
        lost = end.code is None or stopped
        entry.lost += lost
        again = lost and entry.lost <= MOST_LOST
        self._look(entry, "" if again else describe_end(end))
        log = entry.cell.path / LOG
        with contextlib.suppress(WriteError, OSError):  # the disk may be why it failed
            if entry.state == "failed" and end.stderr:
                write_file(log, end.stderr)
            elif entry.state == "finished":
                log.unlink(missing_ok=True)
        if again and entry.state in ("to do", "running elsewhere"):
            entry.message = end.note or "was stopped where it ran and is started again"
        elif entry.state == "finished":
            with contextlib.suppress(UserError):  # a manifest's damage takes no results away
                sessions = RunFolder.open(entry.cell.path).sessions()
                entry.message = "; ".join(note for s in sessions[-1:] for note in notes_of(s))
        self._reporter.changed(entry)

    def _stop(self) -> None:
        """End all processes; those that have just finished count as finished."""
        try:
            self.executor.terminate()
            while self.executor.is_busy:  # it came anywhere: only the executor knows what is left
                self.executor.collect()
                time.sleep(self.executor.poll_seconds)
        finally:  # what is left after another Ctrl-C
            self.executor.kill()
            for entry in self._running.values():
                self._look(entry)
            self._running = {}


class Estimate:
    """How long cells take, judged by those that are finished: seconds to start, and for each step.

    What a cell takes is that of others with its sequence, agent and method; if there are none, of
    those with its sequence and agent; or of all. As long as no cell is finished, those that are
    running tell.

    Args:
        entries: All cells.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        finished: dict[tuple[str, ...], list[float]] = defaultdict(list)
        running: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._startups: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._now = time.monotonic()
        for entry in entries:
            kinds = _kinds(entry.cell)
            if entry.startup is not None:
                for kind in kinds:
                    self._startups[kind].append(entry.startup)
            done = entry.fraction - entry.fraction_before
            if entry.state == "finished":
                rates, rate = finished, entry.seconds / entry.cell.num_steps
            elif entry.state == "running" and done > 0:
                learning = max(self._now - entry.started - (entry.startup or 0.0), 0.0)
                rates, rate = running, learning / (done * entry.cell.num_steps)
            else:
                continue
            for kind in kinds:
                rates[kind].append(rate)
        self._rates = finished or running

    def seconds_left(self, entry: Entry) -> float | None:
        """What a cell takes from where it is to its end; None if nothing is known."""
        seconds = self._learning(entry.cell)
        return None if seconds is None else self._starting(entry) + seconds * (1 - entry.fraction)

    def seconds(self, cell: Cell) -> float | None:
        """What a cell takes from its start to its end; None if nothing is known."""
        seconds = self._learning(cell)
        return None if seconds is None else self._startup(cell) + seconds

    def _learning(self, cell: Cell) -> float | None:
        for kind in _kinds(cell):
            if kind in self._rates:
                return mean(self._rates[kind]) * cell.num_steps
        return None

    def _startup(self, cell: Cell) -> float:
        """What a process takes to start: the median, as some may have waited for others."""
        for kind in _kinds(cell):
            if kind in self._startups:
                return median(self._startups[kind])
        return 0.0

    def _starting(self, entry: Entry) -> float:
        """What is left of the start of a cell's process."""
        startup = self._startup(entry.cell)
        if entry.state == "running":
            begun = entry.fraction > entry.fraction_before
            return 0.0 if begun else max(startup - (self._now - entry.started), 0.0)
        return 0.0 if entry.state == "running elsewhere" and entry.fraction > 0 else startup


def find_fraction(cell: Cell) -> float:
    """The part of a cell's steps that its metrics have come to."""
    try:
        with (cell.path / "metrics.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - KEPT))
            *_, last = file.read().rpartition(b"\n")[0].split(b"\n")
        return float(parse_json(last, {"step": float})["step"]) / cell.num_steps
    except (OSError, ValueError):  # nothing is there yet
        return 0.0


def find_failure(cell: Cell) -> str | None:
    """What a cell said last that failed, in one line; None if it has not.

    It is the last line of its log, or where no sweep ran it what its status says.
    """
    status: dict[str, Any] = {}
    with contextlib.suppress(UserError):
        status = RunFolder(cell.path, cell.setup.config).status()
    if status.get("status") == "interrupted":  # it was tried again since
        return None
    with contextlib.suppress(OSError, NotPlainError):
        if line := _last_line(read_bytes(cell.path / LOG)):
            return one_line(line)
    if status.get("status") == "failed":
        return one_line(status["message"]) or "it does not say why"
    return None


def describe_end(end: End) -> str:
    """Why a process failed, in one line."""
    code = end.code
    if code is not None and code < 0:
        hint = "; was there enough memory?" if code == -signal.SIGKILL else ""
        return f"ended by signal {-code} ({signal.strsignal(-code)}){hint}"
    return _last_line(end.stderr) or f"ended with exit code {code} and without results"


def _last_line(log: bytes) -> str:
    """The last line that is not blank; "" if there is none."""
    lines = [line.strip() for line in log.decode(errors="replace").split("\n")]
    return next((line for line in reversed(lines) if line), "")


def _make_folder(cell: Cell) -> None:
    """Make the folder of a cell that has none.

    Raises:
        UserError: There is something else in its place, or the disk refused.
    """
    config = cell.path / "config.yaml"
    if config.is_file():
        return
    try:
        RunFolder.create(cell.path, cell.setup.config).unlock()
    except UserError:
        # another sweep may be making it right now
        if cell.find_state() == "to do" and not config.is_file():
            raise


def _fraction_kept(cell: Cell) -> float:
    """The part of a cell's steps that its checkpoints hold."""
    names = RunFolder(cell.path, cell.setup.config).checkpoint_names()
    done = CHECKPOINT.fullmatch(names[-1]) if names else None
    if done is None:
        return 0.0
    starts = cell.setup.starts  # going on from a checkpoint that is none of this run is refused
    step = starts[min(int(done[1]), len(starts) - 1)] + int(done[2] or 0)
    return min(step / cell.num_steps, 1.0)


def _cores(config: RunConfig) -> int:
    """Cores that a cell keeps busy."""
    return max(config.threads, config.num_threads)


def _find_startup(cell: Cell) -> float | None:
    """What the last process of a cell that has begun took to start; None if it does not tell."""
    with contextlib.suppress(UserError):
        for session in RunFolder(cell.path, cell.setup.config).sessions()[-1:]:
            seconds = session.get("startup_seconds")
            if isinstance(seconds, (int, float)) and seconds >= 0:
                return float(seconds)
    return None


def _kinds(cell: Cell) -> list[tuple[str, ...]]:
    """What a cell is one of, the narrowest first."""
    config = cell.setup.config
    return [(config.sequence, config.agent, config.method), (config.sequence, config.agent), ()]
