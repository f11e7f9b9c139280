"""Files and folders that are there completely or not at all, also after a crash."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lifelong_rl.errors import UserError
from lifelong_rl.storage.plain_file import open_plain

TEMPORARY = ".tmp"
"""Ending of what is not finished; it may be removed when nobody is writing."""


class WriteError(UserError):
    """The disk refused a write: full, read-only or gone."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a WriteError that names `path`."""
    try:
        yield
    except OSError as error:
        raise WriteError(path, error) from error


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that at any moment it holds the old content or the new.

    Of several processes that write it at a time one comes after the other. What one that was
    killed has left is used by the next.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    with writing(path):
        with open(_open_alone(temporary), "wb") as file, removed_on_failure(temporary):
            file.truncate()
            _write_through(file, content)
            os.replace(temporary, path)
        _sync_folder(path.parent)


def write_in_place(path: Path, content: bytes) -> None:
    """Overwrite a small file where it lies, which takes no room on a disk that is full.

    A crash meanwhile may leave something else there: this is for what `write_file` cannot write,
    and may be lost.
    """
    with writing(path), open(open_plain(path, os.O_WRONLY), "wb") as file:
        file.write(content)
        file.truncate()


def write_json(path: Path, value: object) -> None:
    """Write JSON with `write_file`. NaN and infinity are refused: they are not JSON."""
    write_file(path, format_json(value))


def format_json(value: object) -> bytes:
    """JSON as `write_json` writes it; "?" for what is no text in the names of files."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode(errors="replace")


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    """Write a folder of files that appears under its name only once all of them are on disk.

    The folder it is in is made, but not those above: if they are gone, somebody wanted it so.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    with writing(path), removed_on_failure(temporary):
        path.parent.mkdir(exist_ok=True)
        _remove(temporary)
        temporary.mkdir()
        for name, content in files.items():
            descriptor = open_plain(temporary / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with open(descriptor, "wb") as file:
                _write_through(file, content)
        _sync_folder(temporary)
        os.rename(temporary, path)
        _sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder; at any moment it is there completely or not at all."""
    with writing(path):
        doomed = path.with_name(f"{path.name}.old{TEMPORARY}")
        _remove(doomed)
        os.rename(path, doomed)
        _remove(doomed)


@contextmanager
def replacing(path: Path) -> Iterator[None]:
    """Put a folder aside while the block makes another in its place, and back if that fails."""
    aside = path.with_name(f"{path.name}.old{TEMPORARY}")
    if not aside.exists() and path.exists():
        os.rename(path, aside)
    _remove(path)  # what a process that was killed had begun
    try:
        yield
    except BaseException:
        _remove(path)
        if aside.exists():
            os.rename(aside, path)
        raise
    _remove(aside)


def remove_temporary(folder: Path) -> None:
    """Remove what interrupted writes have left in `folder`."""
    with writing(folder):
        for path in folder.glob("*" + TEMPORARY):
            _remove(path)


@contextmanager
def removed_on_failure(temporary: Path) -> Iterator[None]:
    """Make room again: a disk that is full may have none for what tells so."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            _remove(temporary)
        raise


def _remove(path: Path) -> None:
    """Remove a file, a folder or a link, if it is there; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _open_alone(path: Path) -> int:
    """Open a file that nobody else is writing, once that is so."""
    while True:
        descriptor = open_plain(path, os.O_WRONLY | os.O_CREAT)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                return descriptor
        os.close(descriptor)  # whoever had it has given it its name meanwhile


def _write_through(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
