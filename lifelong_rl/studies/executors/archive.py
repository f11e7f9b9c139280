"""The folder of a run elsewhere: an archive for another machine, or a copy on another disk."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path, PurePosixPath

from lifelong_rl.errors import UserError
from lifelong_rl.storage.atomic import TEMPORARY, remove_folder, write_file, writing
from lifelong_rl.storage.lock import is_lock_file
from lifelong_rl.text import format_size

MOST_BYTES = 2 << 30
"""In a folder that is sent: it passes through the memory of both machines."""
LAST = ("checkpoints", "results.json")
"""What lands after all else, in this order: what a run goes on from, and what says it is done."""


def pack(folder: Path) -> bytes:
    """A folder's files, without those that say who may write there, and without links.

    Links are no part of a run; trackers make some, to what is in the folder.

    Raises:
        UserError: There is more in it than `MOST_BYTES`.
    """
    files = _list_files(folder)
    size = sum(path.stat().st_size for path in files)
    if size > MOST_BYTES:
        raise UserError(
            f"{folder} has {format_size(size)}, and at most {format_size(MOST_BYTES)} are sent "
            "between machines; give the sweep a folder that they share"
        )
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
        for path in files:
            archive.add(path, arcname=path.relative_to(folder).as_posix())
    return content.getvalue()


def unpack(archive: bytes, folder: Path) -> None:
    """Write an archive's files into a folder.

    Raises:
        UserError: It holds something else than files of the folder, or the disk refused.
    """
    with tarfile.open(fileobj=io.BytesIO(archive)) as content:
        for member in content:
            name = PurePosixPath(member.name)
            if not member.isreg() or name.is_absolute() or ".." in name.parts:
                raise UserError(f"what came for {folder} holds '{member.name}', which is no file")
            path = folder / name
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            file = content.extractfile(member)
            assert file is not None
            write_file(path, file.read())


def land(archive: bytes, folder: Path) -> None:
    """Put an archive's files in the place of those in the folder of a run, which is locked.

    At any moment it holds the run as it was, or one without checkpoints that begins anew, or all
    of the archive.

    Raises:
        UserError: As `unpack`; the folder is as it was then.
    """
    landing = _make_room(folder)
    unpack(archive, landing)
    _settle(landing, folder)


def copy(source: Path, folder: Path) -> None:
    """Write the files of one folder into another, as `unpack` does with what `pack` makes of them.

    Raises:
        UserError: The disk refused.
    """
    for path in _list_files(source):
        there = folder / path.relative_to(source)
        with writing(there):
            there.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
        write_file(there, content)


def land_copy(source: Path, folder: Path) -> None:
    """Put the files of a folder on another disk in the place of those of a run, as `land` does.

    Raises:
        UserError: The disk refused; the folder is as it was then.
    """
    landing = _make_room(folder)
    copy(source, landing)
    _settle(landing, folder)


def _make_room(folder: Path) -> Path:
    """Where what comes lies until all of it is there."""
    landing = folder / f"landing{TEMPORARY}"
    if landing.exists():
        remove_folder(landing)
    return landing


def _settle(landing: Path, folder: Path) -> None:
    """Put what has come in the place of what was there."""
    with writing(folder):
        if (folder / LAST[0]).exists():
            remove_folder(folder / LAST[0])
        names = [name for name in sorted(os.listdir(landing)) if name not in LAST]
        for name in (*names, *LAST):
            if (landing / name).is_dir() and (folder / name).is_dir():
                remove_folder(folder / name)
            if (landing / name).exists():
                os.replace(landing / name, folder / name)
        landing.rmdir()


def _list_files(folder: Path) -> list[Path]:
    """What of a folder goes elsewhere."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and _belongs(path.relative_to(folder))
    ]


def _belongs(path: Path) -> bool:
    unfinished = any(part.endswith(TEMPORARY) for part in path.parts)
    return not is_lock_file(path.name) and not unfinished
