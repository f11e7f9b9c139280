"""Files that are what their name says: no link leads elsewhere, and no pipe is waited for.

A folder may come from somebody else. What is written into it stays in it, and what is read from it
has an end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lifelong_rl.errors import UserError


class NotPlainError(UserError):
    """A link, pipe or device stands where a file or folder should, or a file has other names."""


def open_plain(path: Path, flags: int) -> int:
    """Open a regular file, or make it; a link is never followed, nor a hard one written through.

    One that is to be written has no other name (a hard link), under which it would change too.

    Args:
        path: The file; links on the way to it are the user's own.
        flags: Of `os.open`, without `O_TRUNC`: a hard link would be empty before it is refused.

    Returns:
        A descriptor.

    Raises:
        NotPlainError: It is something else, or has another name.
        OSError: It cannot be opened.
    """
    refuse_link(path)
    always = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags | always, 0o666)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise NotPlainError(f"{path} is not a regular file; move it away")
    if found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
        os.close(descriptor)
        raise NotPlainError(
            f"{path} is a hard link: the file has other names, under which it would change too; "
            "put a copy in its place, or move it away"
        )
    return descriptor


def refuse_link(path: Path) -> None:
    """Raise NotPlainError if a file or folder is a link."""
    if path.is_symlink():
        raise NotPlainError(
            f"{path} is a link to {os.readlink(path)!r}, and links are not followed here; put what "
            "it leads to in its place, or move it away"
        )


def read_bytes(path: Path) -> bytes:
    """The content of a regular file, which a link may lead to.

    Raises:
        OSError: It cannot be read, or is a pipe or a device, which might have no end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is not a regular file", str(path))
        return file.read()
