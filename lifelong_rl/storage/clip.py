"""Writing a clip: an MP4, a GIF, or a PNG with some of its pictures side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lifelong_rl.errors import UserError
from lifelong_rl.storage.atomic import write_file, writing

Picture = npt.NDArray[np.uint8]
"""(height, width, 3)."""

FORMATS = (".mp4", ".gif", ".png")
"""Endings of clips."""
HOLD_SECONDS = 0.5
"""How long the last picture of an episode stays."""
STRIP = 6
"""Pictures in a PNG."""
COLOURS = 256
"""In a GIF; its format allows no more."""


def caption(picture: Picture, text: str) -> Picture:
    """Return a picture with a line of text on a dark bar at its lower edge."""
    image = Image.fromarray(picture)
    height = max(image.height // 12, 14)
    bar = Image.new("RGB", (image.width, height), (24, 26, 30))
    image.paste(bar, (0, image.height - height))
    ImageDraw.Draw(image).text(
        (height // 3, image.height - height / 2),
        text,
        fill=(235, 235, 235),
        font_size=0.72 * height,
        anchor="lm",
    )
    return np.asarray(image)


def write_clip(path: Path, episodes: Sequence[Sequence[Picture]], fps: int) -> None:
    """Write a clip in the format that the ending of `path` names, one of `FORMATS`.

    Args:
        path: The file; it appears once it is complete.
        episodes: The pictures of each episode, at least one, all of one size; even, for an MP4.
        fps: Pictures in a second.
    """
    if path.suffix == ".png":
        content = encode_png([picture for episode in episodes for picture in episode])
    else:
        hold = round(HOLD_SECONDS * fps)
        pictures = [
            picture for episode in episodes for picture in [*episode, *[episode[-1]] * hold]
        ]
        content = (encode_mp4 if path.suffix == ".mp4" else encode_gif)(pictures, fps)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content)


def check_format(ending: str) -> None:
    """Raise UserError unless clips with that ending can be written here."""
    if ending not in FORMATS:
        raise UserError(f"a clip cannot end in '{ending}'; allowed: {', '.join(FORMATS)}")
    if ending == ".mp4" and find_spec("av") is None:
        raise UserError("an .mp4 needs PyAV: pip install 'lifelong-rl[video]'; a .gif does without")


def encode_mp4(pictures: Sequence[Picture], fps: int) -> bytes:
    """Encode as H.264, which every browser plays."""
    import av

    # a file and no buffer, because its index is moved to the front once it is complete
    with TemporaryDirectory() as folder:
        file = Path(folder, "clip.mp4")
        with av.open(file, "w", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=fps, options={"crf": "20"})
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        return file.read_bytes()


def encode_gif(pictures: Sequence[Picture], fps: int) -> bytes:
    """Encode as a GIF that repeats for ever, all pictures with the same colours."""
    some = np.concatenate(choose(pictures, STRIP))
    palette = Image.fromarray(some).quantize(COLOURS)
    frames = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    box = io.BytesIO()
    frames[0].save(
        box,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / fps),
        loop=0,
    )
    return box.getvalue()


def encode_png(pictures: Sequence[Picture]) -> bytes:
    """Encode a few of the pictures side by side."""
    box = io.BytesIO()
    Image.fromarray(side_by_side(pictures)).save(box, "PNG", optimize=True)
    return box.getvalue()


def side_by_side(pictures: Sequence[Picture]) -> Picture:
    """Return `STRIP` of the pictures, evenly spaced, as one."""
    return np.concatenate(choose(pictures, STRIP), axis=1)


def choose(pictures: Sequence[Picture], number: int) -> list[Picture]:
    """Return at most so many pictures, evenly spaced, the first and the last among them."""
    last = len(pictures) - 1
    return [pictures[i] for i in np.unique(np.linspace(0, last, number).round().astype(int))]
