"""Reading pictures and films that may come from anyone: PNG, JPEG, GIF and MP4.

Each picture is cut to the square in its middle and resized to the size asked for, antialiased. A
file is read as what its ending says and as nothing else, and only if it is a regular file.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

from lifelong_rl.errors import FileError, UserError
from lifelong_rl.storage.clip import Picture
from lifelong_rl.storage.plain_file import read_bytes

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Endings of pictures, and their formats as Pillow calls them."""
FILMS = (".gif", ".mp4")
"""Endings of films."""
MOST_PIXELS = 89_478_485
"""Of one picture: what Pillow takes for harmless."""
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's names of pictures whose values do not fit into a byte, such as depths."""


class PictureError(FileError):
    """A picture or film that cannot be used."""


def read_picture(path: Path, size: int) -> tuple[Picture, tuple[int, int]]:
    """Read a picture.

    Args:
        path: The file, which ends as one of `PICTURES`.
        size: Width and height to cut and resize it to.

    Returns:
        The picture, (size, size, 3), and the width and height that it had.

    Raises:
        PictureError: It is damaged, too large, or something else.
    """
    with _naming(path), _open(path, PICTURES[path.suffix.lower()], read_bytes(path)) as image:
        upright = ImageOps.exif_transpose(image)
        return _cut(path, upright, size), upright.size


def read_film(path: Path, size: int) -> Iterator[Picture]:
    """Yield the pictures of a film, (size, size, 3) each.

    Args:
        path: The file, which ends as one of `FILMS`.
        size: Width and height to cut and resize them to.

    Raises:
        PictureError: It is damaged, too large, or something else.
        UserError: It is an MP4, and PyAV is not installed.
    """
    with _naming(path):
        yield from (_read_gif if path.suffix.lower() == ".gif" else _read_mp4)(path, size)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in a decoder into a PictureError that names the file."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything about bytes that are not theirs
        if isinstance(error, OSError) and error.filename is not None:
            raise PictureError(path, f"cannot be read: {error.strerror}") from error
        raise PictureError(path, "is truncated or damaged") from error


def _open(path: Path, kind: str, content: bytes) -> Image.Image:
    """Open a picture, whose content is decoded later."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(content), formats=(kind,))
    except UnidentifiedImageError as error:
        raise PictureError(path, f"is no {kind}") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PictureError(path, f"has more than {MOST_PIXELS} pixels") from error


def _cut(path: Path, image: Image.Image, size: int) -> Picture:
    """Return the square in the middle of a picture, resized, (size, size, 3)."""
    if image.mode in _DEEP:
        raise PictureError(
            path, f"has values of more than 8 bits ({image.mode}); give pictures in colour or grey"
        )
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = left, top, left + side, top + side
    coloured = image.convert("RGB")
    return np.asarray(coloured.resize((size, size), Image.Resampling.BILINEAR, box))


def _read_gif(path: Path, size: int) -> Iterator[Picture]:
    content = read_bytes(path)
    with _open(path, "GIF", content) as image:
        # of a cut between pictures Pillow does not tell
        if not content.rstrip(b"\0").endswith(b";"):
            raise PictureError(path, "is truncated or damaged")
        for picture in ImageSequence.Iterator(image):
            yield _cut(path, picture, size)


def _read_mp4(path: Path, size: int) -> Iterator[Picture]:
    if find_spec("av") is None:
        raise UserError(f"{path} needs PyAV: pip install 'lifelong-rl[video]'; a .gif does without")
    import av

    content = read_bytes(path)
    if _is_cut_off(content):
        raise PictureError(path, "is truncated or damaged")
    # bytes and the name of the format: what looks like a playlist must not open other files
    with av.open(io.BytesIO(content), format="mp4") as container:
        if not container.streams.video:
            raise PictureError(path, "holds no pictures")
        stream = container.streams.video[0]
        if stream.codec_context.width * stream.codec_context.height > MOST_PIXELS:
            raise PictureError(path, f"has more than {MOST_PIXELS} pixels")
        count = 0
        for frame in container.decode(stream):  # type: ignore[union-attr] # it is open to be read
            yield _cut(path, Image.fromarray(frame.to_ndarray(format="rgb24")), size)
            count += 1
        if not count:
            raise PictureError(path, "holds no pictures")


def _is_cut_off(content: bytes) -> bool:
    """Whether an MP4 ends before its last box does: of a cut between pictures no decoder tells."""
    position = 0
    while position < len(content):
        size = int.from_bytes(content[position : position + 4])
        if size == 0:  # the box goes on to the end, wherever that is
            return False
        if size == 1:
            size = int.from_bytes(content[position + 8 : position + 16])
        position += max(size, 8)
    return position > len(content)
