"""Who may write to a folder: one process, on whatever machine, until it ends.

Two things say so. `.lock` is locked with `flock`, which the system undoes when the process ends,
however it ends; but not every file system tells another machine of it. A claim, `.claim-N`, is a
file that only one process can make, tells which one, and is touched again and again while that
process lives. Whoever comes later takes the folder over if the owner has ended: on the same
machine the free `flock` says so at once, and of another machine that the claim has not been touched
for long. Taking over is making the next claim, `.claim-(N+1)`, which again only one can, and
removing the one before; an owner that finds its claim gone, because it or its network was halted
for long, writes no more.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from lifelong_rl.errors import UserError
from lifelong_rl.storage.atomic import TEMPORARY, WriteError, removed_on_failure, writing
from lifelong_rl.storage.json_file import Name, Shape, parse_json
from lifelong_rl.storage.plain_file import NotPlainError, open_plain

LOCK = ".lock"
"""File in a folder that whoever writes there holds locked; it names the process."""
CLAIM = ".claim-"
"""What the names of claims begin with; a number follows, and the highest counts."""
HEARTBEAT_SECONDS = 10.0
"""Between two touches of a claim."""
STALE_SECONDS = 120.0
"""Without a touch, after which another machine's process counts as dead: longer than a file server
may be away, and than clients of NFS keep what they know of a file (60 s)."""
CLOCKS_SECONDS = 60.0
"""By which the clocks of machines may differ."""
TRIES = 5
"""To lock: `is_locked` holds a lock for a moment too."""
OWNER: Shape = {"machine": Name, "host": Name, "pid": int, "token": Name}
"""Shape of a claim."""


class FolderLock:
    """The right to write to a folder, see `lock_folder`.

    Args:
        descriptor: Of `.lock`, which is locked.
        claim: The claim.
        content: What it holds.
    """

    def __init__(self, descriptor: int, claim: Path, content: bytes) -> None:
        self._descriptor = descriptor
        self._claim, self._content = claim, content
        self._released = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()

    def check(self) -> None:
        """Make sure, before something is written, that the folder is still this process's.

        A folder that is gone is not looked into: what is about to be written will tell.

        Raises:
            WriteError: Another process has taken it over, or the disk does not tell.
        """
        folder = self._claim.parent
        with writing(folder):
            if self._is_ours() or not folder.is_dir():
                return
            latest = _find_claim(folder)
        by = "its claim was removed" if latest is None else f"taken over by {latest.owner}"
        raise WriteError(folder, OSError(errno.ESTALE, f"the folder was lost: {by}"))

    def release(self) -> None:
        """Let others write to the folder."""
        self._released.set()
        self._heart.join()
        with suppress(OSError):
            if self._is_ours():
                self._claim.unlink()
        os.close(self._descriptor)

    def _is_ours(self) -> bool:
        try:
            return self._claim.read_bytes() == self._content
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # `check` finds out
                os.utime(self._claim, follow_symlinks=False)


@dataclass(frozen=True)
class _Claim:
    """A claim as it was found.

    Attributes:
        number: Of the claim.
        touched: When, by the clock of the file server.
        machine: Of its owner; empty if that is not told.
        owner: In words.
    """

    number: int
    touched: float
    machine: str
    owner: str


def lock_folder(folder: Path) -> FolderLock:
    """Keep other processes, on any machine, from writing to a folder while this one lives.

    Raises:
        UserError: Another process writes there, or the file system has no locks.
    """
    path = folder / LOCK
    with writing(path):
        descriptor = open_plain(path, os.O_RDWR | os.O_CREAT)
    try:
        _flock(descriptor)
        os.utime(descriptor)
        now = os.fstat(descriptor).st_mtime  # by the file server's clock, not by this machine's
        latest = _find_claim(folder)
        if latest is not None and not _is_dead(latest, now):
            raise BlockingIOError
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        claim, content = _make_claim(folder, 1 if latest is None else latest.number + 1)
    except (BlockingIOError, FileExistsError):
        owner = _describe_owner(folder, descriptor)
        os.close(descriptor)
        raise UserError(
            f"{folder} is in use: already running ({owner}); wait for it or stop it first"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise UserError(_explain(path, error)) from error
    except BaseException:
        os.close(descriptor)
        raise
    return FolderLock(descriptor, claim, content)


def is_locked(folder: Path) -> bool:
    """Whether a process writes to a folder; changes nothing there.

    That another machine's has ended is told by this machine's clock, so late rather than early: who
    is told so can take the folder over.
    """
    try:
        descriptor = open_plain(folder / LOCK, os.O_RDONLY)
    except (OSError, NotPlainError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    try:
        latest = _find_claim(folder)
    except OSError:
        return True
    return latest is not None and not _is_dead(latest, time.time() - CLOCKS_SECONDS)


def is_lock_file(name: str) -> bool:
    """Whether a file of this name in a folder only says who may write there."""
    return name == LOCK or name.startswith(CLAIM)


def _flock(descriptor: int) -> None:
    for _ in range(TRIES - 1):
        with suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _make_claim(folder: Path, number: int) -> tuple[Path, bytes]:
    """Make a claim, and remove those before it.

    Returns:
        The file and its content.

    Raises:
        FileExistsError: Another process has made it.
        OSError: The disk refused.
    """
    path = folder / f"{CLAIM}{number}"
    owner = {"machine": _machine(), "host": socket.gethostname(), "pid": os.getpid()}
    token = uuid4().hex
    content = json.dumps({**owner, "token": token}).encode()
    whole = folder / f"{path.name}.{token}{TEMPORARY}"
    try:
        whole.write_bytes(content)
        try:
            os.link(whole, path)  # so that nobody sees half of it
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links, or a full one
            with path.open("xb") as file, removed_on_failure(path):
                file.write(content)
                file.flush()
    finally:
        with suppress(OSError):
            whole.unlink()
    try:
        for name, earlier in _claim_names(folder):
            if earlier < number:
                (folder / name).unlink(missing_ok=True)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
    return path, content


def _find_claim(folder: Path) -> _Claim | None:
    """The claim that counts; opening it makes NFS ask the server.

    Raises:
        OSError: It cannot be read, so that nobody knows.
    """
    for name, number in sorted(_claim_names(folder), key=lambda found: -found[1]):
        try:
            descriptor = open_plain(folder / name, os.O_RDONLY)
        except FileNotFoundError:
            continue
        except NotPlainError:  # no claim of ours
            return _Claim(number, 0.0, "", "an unknown process")
        with open(descriptor, "rb") as file:
            touched, content = os.fstat(descriptor).st_mtime, file.read(1 << 12)
        try:
            owner = parse_json(content, OWNER)
        except ValueError:  # its owner has only just made it, or was killed then
            return _Claim(number, touched, "", "an unknown process")
        here = owner["machine"] == _machine()
        words = f"pid {owner['pid']}" + ("" if here else f" on {owner['host']}")
        return _Claim(number, touched, owner["machine"], words)
    return None


def _claim_names(folder: Path) -> list[tuple[str, int]]:
    """Names and numbers of the claims in a folder."""
    names = [name for name in os.listdir(folder) if name.startswith(CLAIM)]
    return [(name, int(end)) for name in names if (end := name[len(CLAIM) :]).isdecimal()]


def _is_dead(claim: _Claim, now: float) -> bool:
    """Whether the owner of a claim has ended, where no process here holds the folder locked."""
    return claim.machine == _machine() or now - claim.touched > STALE_SECONDS


def _machine() -> str:
    """What tells this machine, as it runs since it was switched on, from others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}".strip()


def _describe_owner(folder: Path, descriptor: int) -> str:
    latest = _find_claim(folder)
    if latest is not None:
        return latest.owner
    told = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return f"pid {told or 'unknown'}"


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        return (
            f"cannot lock {path}: its file system has no locks ({error.strerror}), so two "
            "processes could spoil each other's work; choose a folder on another one"
        )
    return f"cannot write {path}: {error.strerror}"
