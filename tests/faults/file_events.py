"""What a process does to the files of a folder, event by event, with something done at each.

An event is the opening of a file, a write, a truncation, an fsync, a rename, the removal of a file
or folder, or the making of a folder. Python tells of most of them by itself (`sys.addaudithook`),
before they happen; for writes and fsync this module stands between. It is for a process that
ends soon, such as a fork, because an audit hook cannot be taken away.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

AUDITED = {
    "open": "open",
    "os.link": "link",
    "os.rename": "rename",
    "os.remove": "unlink",
    "os.rmdir": "unlink",
    "os.mkdir": "mkdir",
    "os.truncate": "truncate",
}
KINDS = ("open", "write", "truncate", "fsync", "link", "rename", "unlink", "mkdir")

Happen = Callable[[int, str, Path], None]
"""Is called before an event with its number from 1, its kind and the file."""


Write = Callable[[int, Path, Callable[[bytes], int], bytes], int]
"""Is called in place of a write with its number, the file, the file's own method and the content;
returns how many bytes it has written."""


def watch_files(folder: Path, happen: Happen, write: Write | None = None) -> None:
    """Call `happen` before each event in a folder, from now on in this process.

    Args:
        folder: It need not be there.
        happen: May raise what the event is to raise, or end the process.
        write: Called in place of each write.
    """
    inside, count = os.path.abspath(folder), 0
    plain_open, plain_write, plain_fsync = io.open, os.write, os.fsync

    def note(kind: str, path: object) -> int:
        nonlocal count
        name = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        if name != inside and not name.startswith(inside + os.sep):
            return 0
        count += 1
        happen(count, kind, Path(name))
        return count

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        kind = AUDITED.get(event)
        if kind is None:
            return
        path = arguments[0]
        if isinstance(path, int):
            if kind == "open":  # a descriptor that was opened before
                return
            path = name_of(path)
        elif event in ("os.remove", "os.rmdir") and arguments[1] >= 0:
            path = os.path.join(name_of(arguments[1]), path)
        if kind == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            kind = "read"
        note(kind, path)

    class WatchedFile(io.FileIO):
        def write(self, content: Any) -> int:
            number = note("write", name_of(self.fileno()))
            if write is not None and number:
                return write(number, Path(name_of(self.fileno())), super().write, bytes(content))
            return super().write(content)

        def truncate(self, size: int | None = None) -> int:
            note("truncate", name_of(self.fileno()))
            return super().truncate(size)

    def watched_open(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        if mode in ("wb", "ab", "xb"):
            return io.BufferedWriter(WatchedFile(file, mode[0]))
        return plain_open(file, mode, *more, **options)

    def watched_write(descriptor: int, content: bytes) -> int:
        note("write", name_of(descriptor))
        return plain_write(descriptor, content)

    def watched_fsync(descriptor: int) -> None:
        note("fsync", name_of(descriptor))
        plain_fsync(descriptor)

    io.open = builtins.open = watched_open  # type: ignore[assignment]
    os.write, os.fsync = watched_write, watched_fsync  # type: ignore[assignment]
    sys.addaudithook(audit)


def name_of(descriptor: int) -> str:
    """The path of an open file."""
    return os.readlink(f"/proc/self/fd/{descriptor}")
