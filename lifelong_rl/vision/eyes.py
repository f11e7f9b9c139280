"""What an agent is given to see with: encoders, and what becomes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifelong_rl.errors import UserError
from lifelong_rl.storage.versions import installed
from lifelong_rl.vision.encoder import Encoder, load_encoder
from lifelong_rl.vision.pretrain_folder import find_encoder, rendered_with

DEFAULT_SIZE = 64
"""Width and height of the pictures that encoders are learned from scratch on, in pixels."""


@dataclass(frozen=True)
class Eyes:
    """Encoders of pictures, and what becomes of them.

    Attributes:
        num_cameras: That take the pictures.
        encoders: The start: one for each camera in order, or one for all; empty to learn one for
            each from scratch.
        frozen: Whether they stay as they are.
        shift: Largest random shift of the pictures that they are learned from, in pixels.
        sha256: Of each encoder's file.
        notes: What should be known of the encoders, a line each.

    Raises:
        ValueError: The encoders and the cameras do not fit together.
    """

    num_cameras: int = 1
    encoders: tuple[Encoder, ...] = ()
    frozen: bool = False
    shift: int = 4
    sha256: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the encoders."""
        if len(self.encoders) not in (0, 1, self.num_cameras):
            raise ValueError(
                f"{len(self.encoders)} encoders do not fit {self.num_cameras} cameras: give one "
                "for each, in their order, or one for all"
            )
        if self.frozen and not self.encoders:
            raise ValueError("only an encoder that was pretrained can be left as it is")
        if self.shift < 0:
            raise ValueError(f"shift must be at least 0 pixels, not {self.shift}")
        sizes = sorted({(e.spec.width, e.spec.height) for e in self.encoders})
        if len(sizes) > 1 or any(width != height for width, height in sizes):
            told = ", ".join(f"{width}×{height}" for width, height in sizes)
            raise ValueError(
                f"the encoders are for pictures of {told} pixels, and cameras take square ones, "
                "all of one size"
            )

    @property
    def size(self) -> int:
        """Width and height of the pictures, in pixels."""
        return self.encoders[0].spec.width if self.encoders else DEFAULT_SIZE


def note_rendering(file: Path, made: Mapping[str, Any]) -> list[str]:
    """Say that an encoder may see other pictures than it learned from; nothing if it does not.

    It goes on to be of use, unlike a checkpoint's state: what comes out is worse at most.

    Args:
        file: Of the encoder.
        made: What it tells of how it was made.
    """
    there, here = rendered_with(made), installed("mujoco")
    if there is None:
        return [f"{file} does not tell which MuJoCo rendered the frames that it learned from"]
    if there == here:
        return []
    return [
        f"{file} learned from frames of MuJoCo {there}, and installed is {here}, which may render "
        f"otherwise; pretrain it again, or: pip install mujoco=={there}"
    ]


def open_eyes(paths: Sequence[Path], cameras: Sequence[str], *, frozen: bool, shift: int) -> Eyes:
    """Eyes with what pretraining has left in some files or folders.

    Args:
        paths: For each camera in order, or one for all; none for eyes that learn from scratch.
        cameras: Their names.
        frozen: See `Eyes`.
        shift: See `Eyes`.

    Raises:
        UserError: A file is no encoder, or is for another camera; or they do not fit together.
    """
    encoders, digests, notes = [], [], []
    for k, path in enumerate(paths):
        file = find_encoder(path)
        encoder, made = load_encoder(file)
        learned_on = made.get("camera")
        if len(paths) == len(cameras) > 1 and learned_on not in (None, cameras[k]):
            raise UserError(
                f"{file} is for the camera '{learned_on}' and stands where that of '{cameras[k]}' "
                "should; give the encoders in the order of the cameras"
            )
        notes += note_rendering(file, made)
        encoders.append(encoder)
        digests.append(hashlib.sha256(file.read_bytes()).hexdigest())
    try:
        return Eyes(len(cameras), tuple(encoders), frozen, shift, tuple(digests), tuple(notes))
    except ValueError as error:
        raise UserError(str(error)) from error
