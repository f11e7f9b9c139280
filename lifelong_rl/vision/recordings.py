"""Frames from anywhere: a folder of pictures or films, such as those of a real robot's camera.

The folder holds the episodes, in the order of their names, where 2 comes before 10. An episode is a
folder of pictures, in the order of their names; or a film; or a folder with one of these for each
camera, called after it. Pictures that lie in the folder itself are one episode.

Nobody labels such frames. What is known of each is how far its episode has got, which is kept as
the label "progress".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.storage.clip import Picture
from lifelong_rl.storage.picture_file import FILMS, PICTURES, PictureError, read_film, read_picture
from lifelong_rl.storage.plain_file import read_bytes
from lifelong_rl.text import one_line
from lifelong_rl.vision.frames import PROGRESS, Frames

CAMERA = "camera"
"""What the camera is called where no folder or film is called after it."""
POLICY = "recorded"
"""What the policy is called, whoever acted."""

Source = Path | tuple[Path, ...]
"""What one camera saw of an episode: a film, or pictures in order."""


@dataclass(frozen=True)
class Recordings:
    """What was found in a folder.

    Attributes:
        folder: The folder.
        cameras: Their names, the same for every episode.
        episodes: What each camera saw, in the order of `cameras`, by the episode's name.
    """

    folder: Path
    cameras: tuple[str, ...]
    episodes: Mapping[str, tuple[Source, ...]]

    def sha256(self) -> str:
        """Digest of the files' contents, and of how they lie in the folder."""
        told = hashlib.sha256()
        for sources in self.episodes.values():
            for path in (path for source in sources for path in _files(source)):
                content = read_bytes(path)
                told.update(f"{path.relative_to(self.folder).as_posix()!a} ".encode())
                told.update(f"{len(content)} ".encode() + content)
        return told.hexdigest()


def find_recordings(
    folder: Path, cameras: Sequence[str], skipped: Callable[[str], None]
) -> Recordings:
    """Find the episodes in a folder.

    Args:
        folder: The folder.
        cameras: Which to take, in this order; none for all. Where a folder does not name cameras,
            the name to give to its only one.
        skipped: Called with a line about each thing that is left out.

    Raises:
        UserError: There is no episode, the cameras are not the same in all, or something lies where
            it does not belong.
        UnknownNameError: A camera is not there.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder of pictures or films")
    entries = _list(folder, folder, skipped)
    pictures = tuple(path for path in entries if _is_picture(path))
    if pictures and len(pictures) < len(entries):
        other = next(path for path in entries if not _is_picture(path))
        raise UserError(
            f"{folder} holds pictures beside {other.name}; put the pictures of an episode into a "
            "folder of their own"
        )
    found: dict[str, dict[str, Source]] = {}
    if pictures:
        found[folder.name] = {"": pictures}
    else:
        for path in entries:
            views = _views(folder, path, skipped)
            if views:
                found[path.name] = views
    if not found:
        raise UserError(
            f"{folder} holds no episode: a folder of pictures ({', '.join(PICTURES)}) or a film "
            f"({', '.join(FILMS)})"
        )
    return _of_cameras(folder, found, cameras)


def read_recordings(found: Recordings, size: int, skipped: Callable[[str], None]) -> Frames:
    """Read all pictures.

    Args:
        found: Where they are.
        size: Width and height that the square in the middle of each is resized to.
        skipped: Called with a line about each episode that is left out.

    Returns:
        The frames, of one task, called after the folder.

    Raises:
        PictureError: A file is damaged, too large, or something else.
        UserError: The cameras saw different numbers of pictures, or no episode has two.
    """
    episodes = []
    for name, sources in found.episodes.items():
        views = [np.stack(list(_read(source, size))) for source in sources]
        counts = [len(view) for view in views]
        if len(set(counts)) > 1:
            told = ", ".join(f"{c} {n}" for c, n in zip(found.cameras, counts, strict=True))
            raise UserError(
                f"{found.folder / name}: the cameras have different numbers of pictures ({told})"
            )
        if counts[0] < 2:
            skipped(f"{found.folder / name}: one picture is no episode")
        else:
            episodes.append(np.stack(views, axis=1).transpose(0, 1, 4, 2, 3))
    if not episodes:
        raise UserError(f"{found.folder} holds no episode of two pictures or more")
    lengths = np.array([len(images) for images in episodes])
    steps = np.concatenate([np.arange(length) for length in lengths])
    last = np.repeat(lengths - 1, lengths)
    return Frames(
        images=np.concatenate(episodes),
        episodes=np.repeat(np.arange(len(lengths)), lengths),
        steps=steps,
        tasks=np.zeros(len(steps), np.int64),
        policies=np.zeros(len(steps), np.int64),
        labels={PROGRESS: (steps / last).astype(np.float32)[:, None]},
        metadata=describe(found, size),
    )


def describe(found: Recordings, size: int) -> dict[str, Any]:
    """What tells the frames of recordings from others, as JSON."""
    return {
        "tasks": [one_line(found.folder.resolve().name) or POLICY],
        "policies": [POLICY],
        "cameras": [one_line(camera) for camera in found.cameras],
        "size": size,
        "recordings": found.sha256(),
    }


def _of_cameras(
    folder: Path, found: Mapping[str, Mapping[str, Source]], cameras: Sequence[str]
) -> Recordings:
    """Choose the cameras, after checking that every episode has the same."""
    first, views = next(iter(found.items()))
    for name, others in found.items():
        if others.keys() != views.keys():
            told = [", ".join(view) or "one without a name" for view in (views, others)]
            raise UserError(
                f"{folder}: '{first}' is of other cameras ({told[0]}) than '{name}' ({told[1]})"
            )
    if "" in views:
        if len(cameras) > 1:
            raise UserError(
                f"{folder} is of one camera, and {len(cameras)} are named; an episode of several "
                "has a folder or film for each, called after it"
            )
        names = tuple(cameras) or (CAMERA,)
        keys: tuple[str, ...] = ("",)
    else:
        for camera in cameras:
            if camera not in views:
                raise UnknownNameError("camera", camera, views, see="")
        names = keys = tuple(cameras) or tuple(views)
    return Recordings(
        folder, names, {name: tuple(view[key] for key in keys) for name, view in found.items()}
    )


def _views(folder: Path, path: Path, skipped: Callable[[str], None]) -> dict[str, Source]:
    """What there is of an episode by camera, "" for one without a name; nothing if it is empty."""
    if not path.is_dir():
        return {"": path}
    entries = _list(folder, path, skipped)
    pictures = tuple(entry for entry in entries if _is_picture(entry))
    if pictures and len(pictures) == len(entries):
        return {"": pictures}
    if pictures:
        other = next(entry for entry in entries if not _is_picture(entry))
        raise UserError(
            f"{path} holds pictures beside {other.name}; it is an episode of one or of the other"
        )
    views: dict[str, Source] = {}
    for entry in entries:
        source: Source = entry
        if entry.is_dir():
            inside = _list(folder, entry, skipped)
            source = tuple(each for each in inside if _is_picture(each))
            if len(source) < len(inside):
                other = next(each for each in inside if not _is_picture(each))
                raise UserError(f"{other} lies too deep: in an episode's camera are pictures only")
            if not source:
                raise UserError(f"{entry} holds no pictures, and stands for a camera")
        name = entry.name if entry.is_dir() else entry.stem
        if name in views:
            raise UserError(f"{path} holds two of the camera '{name}'")
        views[name] = source
    if not views:
        skipped(f"{path}: it holds no pictures")
    return views


def _list(root: Path, folder: Path, skipped: Callable[[str], None]) -> list[Path]:
    """The pictures, films and folders in a folder, in the order of their names.

    Raises:
        UserError: A link leads out of `root`.
    """
    found = []
    home = root.resolve()
    for path in sorted(folder.iterdir(), key=_natural):
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            raise UserError(f"{path} is a link that leads out of {root}; put a copy in its place")
        if path.is_dir() or path.suffix.lower() in (*PICTURES, *FILMS):
            found.append(path)
        else:
            skipped(f"{path}: it is neither a picture nor a film")
    return found


def _natural(path: Path) -> tuple[list[str | int], str]:
    """What paths are sorted by: numbers in their names count as numbers."""
    words = re.split(r"([0-9]+)", path.name)
    return [int(word) if k % 2 else word for k, word in enumerate(words)], path.name


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and not path.is_dir()


def _files(source: Source) -> tuple[Path, ...]:
    return (source,) if isinstance(source, Path) else source


def _read(source: Source, size: int) -> Iterator[Picture]:
    """Read what one camera saw of an episode."""
    if isinstance(source, Path):
        yield from read_film(source, size)
        return
    first = None
    for path in source:
        picture, shape = read_picture(path, size)
        first = first or shape
        if shape != first:
            raise PictureError(
                path,
                f"has {shape[0]}×{shape[1]} pixels, and {source[0].name} of the same episode "
                f"{first[0]}×{first[1]}",
            )
        yield picture
