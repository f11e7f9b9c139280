"""Who may write: locks that end with the process that holds them, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from lifelong_rl.errors import UserError
from lifelong_rl.storage.atomic import writing
from lifelong_rl.storage.plain_file import NotPlainError, open_plain

LOCK = ".lock"
"""File in a folder that whoever writes there holds locked; it names the process."""


def lock_folder(folder: Path) -> int:
    """Keep other processes from writing to a folder while this one lives.

    Returns:
        A descriptor; closing it unlocks the folder.

    Raises:
        UserError: Another process writes there, or the file system has no locks.
    """
    path = folder / LOCK
    with writing(path):
        descriptor = open_plain(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise UserError(
            f"{folder} is in use: already running (pid {owner}); wait for it or stop it first"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise UserError(_explain(path, error)) from error
    return descriptor


def is_locked(folder: Path) -> bool:
    """Whether a process writes to a folder; changes nothing there."""
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
    return False


def _explain(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        return (
            f"cannot lock {path}: its file system has no locks ({error.strerror}), so two "
            "processes could spoil each other's work; choose a folder on another one"
        )
    return f"cannot write {path}: {error.strerror}"
