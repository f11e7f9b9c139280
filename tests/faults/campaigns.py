"""One fault at a time: what is done to a run, and what is wrong with it afterwards.

Each function tries one fault and returns an `Outcome`. The tests try a few and
`scripts/reliability.py` many; both call these.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import file_events
import forked
from forked import PHASES, Board
from subjects import Reference, changed_checkpoints, checkpoints, finish, temporary_files

DISK_KINDS = ("open", "write", "truncate", "fsync", "rename", "mkdir")
"""Events that a full disk refuses."""
Method = Callable[[bytes], int]
NO_DISK, ENOUGH_ROOM = 2, 3
"""Exit codes of a trial whose disk could not be made, or was not filled."""


@dataclass
class Outcome:
    """What became of one fault.

    Attributes:
        kind: For the counts, such as "learning" or "ENOSPC once".
        happened: How many faults of the kind there were; none where the run was over before.
        problems: What is wrong; nothing, if all is well.
        where: What makes it again.
    """

    kind: str
    happened: int = 1
    problems: list[str] = field(default_factory=list)
    where: str = ""


@contextmanager
def place(reference: Reference) -> Iterator[Path]:
    """A folder for one run, beside the reference, and removed afterwards."""
    folder = Path(tempfile.mkdtemp(dir=reference.path.parent))
    try:
        yield folder / "run"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def kill_at_moments(reference: Reference, choose: random.Random, kills: int = 2) -> list[Outcome]:
    """`kill -9` at random moments: of a run, of its resume, and so on; then the end."""
    outcomes: list[Outcome] = []
    with place(reference) as path:
        kept: list[str] = []
        for _ in range(kills):
            child = forked.start(reference.subject.go_on(path), path.with_suffix(".out"))
            _signal_sometime(child, reference, choose, signal.SIGKILL)
            if child.wait() != -signal.SIGKILL:
                break
            outcomes.append(Outcome(child.board.phase))
            problems = [*_lost(path, reference, kept)]
            kept = [*checkpoints(path)]
            outcomes[-1].problems += problems
        problems = finish(reference, path)
        if outcomes:
            outcomes[-1].problems += problems
        elif problems:
            outcomes.append(Outcome("no kill", 0, problems))
    return outcomes


def count_events(reference: Reference) -> list[str]:
    """The kinds of all file events of a run that meets no fault, in their order."""
    with place(reference) as path:
        told = path.with_suffix(".events")
        descriptor = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        write = os.write

        def prepare(board: Board) -> None:
            def happen(number: int, kind: str, file: Path) -> None:
                write(descriptor, f"{kind}\n".encode())

            file_events.watch_files(path, happen)

        forked.start(reference.subject.run(path), path.with_suffix(".out"), prepare).wait()
        os.close(descriptor)
        return told.read_text().split()


def kill_at_event(reference: Reference, number: int, *, torn: bool = False) -> Outcome:
    """`kill -9` just before the n-th file event, or with half of a write done; then the end."""
    with place(reference) as path:

        def prepare(board: Board) -> None:
            def happen(count: int, kind: str, file: Path) -> None:
                if count == number and not (torn and kind == "write"):
                    if kind != "read":
                        board.enter("writing")
                    os.kill(os.getpid(), signal.SIGKILL)

            def write(count: int, file: Path, method: Method, content: bytes) -> int:
                if torn and count == number:
                    board.enter("writing")
                    method(content[: len(content) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return method(content)

            file_events.watch_files(path, happen, write)

        child = forked.start(reference.subject.run(path), path.with_suffix(".out"), prepare)
        killed = child.wait() == -signal.SIGKILL
        outcome = Outcome(child.board.phase, int(killed), where=f"event {number}, torn {torn}")
        if killed:
            outcome.problems += _lost(path, reference, [])
        outcome.problems += finish(reference, path)
        return outcome


def refuse_event(
    reference: Reference, number: int, code: int, *, forever: bool = False, torn: bool = False
) -> Outcome:
    """An error of the n-th file event, or of all from it on, as of a disk that fills up.

    Args:
        reference: What is run.
        number: Of the event.
        code: Of the error, such as `errno.ENOSPC`.
        forever: Whether all that follow and need room meet it too; what is overwritten in place
            needs none.
        torn: Whether half of a write comes through before.
    """
    name = errno.errorcode[code]
    with place(reference) as path:

        def prepare(board: Board) -> None:
            def strikes(count: int, kind: str, file: Path) -> bool:
                if count == number:
                    return True
                needs_room = kind in DISK_KINDS and file.name != "status.json"
                return forever and count > number and needs_room

            def happen(count: int, kind: str, file: Path) -> None:
                if strikes(count, kind, file) and not (torn and kind == "write"):
                    board.strike()
                    raise OSError(code, os.strerror(code), str(file))

            def write(count: int, file: Path, method: Method, content: bytes) -> int:
                if not (torn and strikes(count, "write", file)):
                    return method(content)
                board.strike()
                if count == number and len(content) > 1:
                    return method(content[: len(content) // 2])
                raise OSError(code, os.strerror(code))

            file_events.watch_files(path, happen, write)

        child = forked.start(reference.subject.run(path), path.with_suffix(".out"), prepare)
        kind = f"{name} {'from an event on' if forever else 'at one event'}"
        outcome = Outcome(kind, where=f"event {number}, torn {torn}")
        exit_code = child.wait()
        outcome.happened = int(child.board.struck > 0)
        outcome.problems += _told(exit_code, child.lines)
        outcome.problems += changed_checkpoints(path, reference.path)
        if forever:
            outcome.problems += _stopped_cleanly(path, reference, exit_code)
        outcome.problems += finish(reference, path)
        return outcome


def limit_size(reference: Reference, limit: int) -> Outcome:
    """No file may have more bytes than a limit (`RLIMIT_FSIZE`)."""
    with place(reference) as path:

        def prepare(board: Board) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        read, write = os.pipe()  # the limit holds for the file of the output too
        output = path.with_suffix(".out")
        child = forked.start(reference.subject.run(path), output, prepare, write, write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            lines = pipe.read().decode().splitlines()
        code = child.wait()
        outcome = Outcome("file size limit", int(code != 0), where=f"{limit} bytes")
        outcome.problems += _told(code, lines)
        outcome.problems += _stopped_cleanly(path, reference, code)
        outcome.problems += finish(reference, path)
        return outcome


def full_disk(reference: Reference, kibibytes: int) -> Outcome | None:
    """A real disk (tmpfs) that has so much room; None where this system lets nobody mount one."""
    with place(reference) as path:
        report = path.with_suffix(".json")
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                code = _on_small_disk(reference, path.parent / "disk", kibibytes, report)
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == NO_DISK:
            return None
        outcome = Outcome("full tmpfs", int(code != ENOUGH_ROOM), where=f"{kibibytes} KiB")
        told = report.read_text() if report.exists() else ""
        outcome.problems += json.loads(told) if told else [f"the trial ended with {code}"]
        return outcome


def _on_small_disk(reference: Reference, disk: Path, kibibytes: int, report: Path) -> int:
    """Mount a disk that only this process sees, fill it by a run, make room and go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newns, clone_newuser, remount = 0x00020000, 0x10000000, 32
    user, group = os.getuid(), os.getgid()
    if libc.unshare(clone_newns | clone_newuser):
        return NO_DISK
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    disk.mkdir()

    def mount(size: int, flags: int) -> int:
        options = f"size={size}k".encode()
        return int(libc.mount(b"tmpfs", str(disk).encode(), b"tmpfs", flags, options))

    if mount(kibibytes, 0):
        return NO_DISK
    path = disk / "run"
    child = forked.start(reference.subject.run(path), report.with_suffix(".out"))
    code = child.wait()
    problems = [*_told(code, child.lines), *_stopped_cleanly(path, reference, code)]
    if mount(1 << 16, remount):
        problems.append("no room could be made")
    problems += finish(reference, path, report.with_suffix(".out"))
    report.write_text(json.dumps(problems))
    return 0 if code else ENOUGH_ROOM


def signal_at_moment(reference: Reference, choose: random.Random, number: int) -> Outcome:
    """A signal that asks a run to stop, at a random moment; then the end."""
    name = signal.Signals(number).name
    with place(reference) as path:
        child = forked.start(reference.subject.run(path), path.with_suffix(".out"))
        _signal_sometime(child, reference, choose, number)
        code = child.wait()
        outcome = Outcome(name, int(code != 0), where=child.signalled_in)
        if code == -number and not (path / "status.json").exists():
            pass  # nothing had begun that could be stopped in order
        elif code == 128 + number:
            outcome.problems += _told(code, child.lines)
            status = path / "status.json"
            if status.exists() and json.loads(status.read_text())["status"] != "interrupted":
                outcome.problems.append(f"status is {status.read_text()}")
        elif code != 0:
            outcome.problems.append(f"it ended with {code}: {' | '.join(child.lines[-3:])}")
        if temporary_files(path) and code > 0:
            outcome.problems.append(f"it left {temporary_files(path)}")
        outcome.problems += finish(reference, path)
        return outcome


def close_output(reference: Reference, after: int) -> Outcome:
    """Whoever reads the output goes away after so many bytes; the run does not depend on it."""
    with place(reference) as path:
        read, write = os.pipe()
        words = [word for word in reference.subject.run(path) if word != "--quiet"]
        child = forked.start(
            words, path.with_suffix(".out"), lambda board: os.close(read), stdout=write
        )
        os.close(write)
        left = after
        while left and (got := os.read(read, left)):
            left -= len(got)
        os.close(read)
        outcome = Outcome("closed pipe", where=f"after {after} bytes")
        if child.wait() != 0:
            outcome.problems.append(f"it ended with {child.code}: {' | '.join(child.lines[-3:])}")
        outcome.problems += finish(reference, path)
        return outcome


def race(reference: Reference, choose: random.Random, *, resumed: bool) -> Outcome:
    """Two processes with the same command in one folder: one of them runs, and nothing is mixed."""
    with place(reference) as path:
        if resumed:
            first = forked.start(reference.subject.run(path), path.with_suffix(".out"))
            first.signal_in("learning", 2, 0.0, signal.SIGKILL)
            first.wait()
        words = reference.subject.go_on(path)
        children = []
        for number in range(2):
            children.append(forked.start(words, path.with_suffix(f".{number}.out")))
            time.sleep(choose.choice((0, 0, choose.uniform(0, 0.05))))
        codes = sorted(child.wait() for child in children)
        outcome = Outcome("resume and resume" if resumed else "run and run")
        if codes not in ([0, 2], [0, 0] if resumed else [0, 2]):
            told = [child.lines[-1:] for child in children]
            outcome.problems.append(f"they ended with {codes}: {told}")
        outcome.problems += finish(reference, path)
        return outcome


def _signal_sometime(
    child: forked.Child, reference: Reference, choose: random.Random, number: int
) -> None:
    """Send a signal in a random phase, soon after it has begun for the n-th time."""
    phase = choose.choice(PHASES)
    entrance = choose.randint(1, reference.entered[phase])
    mean = reference.seconds / (10 if phase == "start" else 100)
    child.signal_in(phase, entrance, choose.expovariate(1 / mean), number)


def _lost(path: Path, reference: Reference, kept: list[str]) -> Iterator[str]:
    """Checkpoints that were there before a kill and are not, or are others."""
    lost = {*kept} - {*checkpoints(path)}
    if lost:
        yield f"lost {sorted(lost)}"
    yield from changed_checkpoints(path, reference.path)


def _told(code: int, lines: list[str]) -> Iterator[str]:
    """A run that cannot go on says so in one line; one that can says nothing of it."""
    if code == 0:
        return
    told = [line for line in lines if line.startswith("lifelong-rl: ")]
    if code not in (1, 2, 129, 130, 138, 143) or len(told) != 1 or len(lines) != 1:
        yield f"it ended with {code} and said {lines[-6:]}"
    elif "unexpected" in told[0]:
        yield told[0]


def _stopped_cleanly(path: Path, reference: Reference, code: int) -> Iterator[str]:
    """A run that the disk stopped says that it failed, and has left nothing unfinished."""
    yield from changed_checkpoints(path, reference.path)
    if temporary_files(path):
        yield f"it left {temporary_files(path)}"
    status = path / "status.json"
    if code == 1 and status.exists():
        found: Any = json.loads(status.read_text())
        if found["status"] != "failed":
            yield f"status.json says {found}"
