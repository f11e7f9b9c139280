"""A picture of what an encoder finds alike."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lifelong_rl.vision.encoder import Encoder, encode
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.representation import nearest

POOL = 4096
"""Frames to choose neighbours from, at most."""
BORDER = 2
"""Pixels between images."""


def neighbour_grid(
    encoder: Encoder, frames: Frames, rows: int = 8, columns: int = 7
) -> npt.NDArray[np.uint8]:
    """Frames on the left, and to the right the most similar frames of other episodes.

    Args:
        encoder: Tells what is similar.
        frames: Of the encoder's camera.
        rows: Number of queries, spread evenly over the frames.
        columns: Neighbours of each; fewer if there are not so many frames of other episodes.

    Returns:
        A picture, (height, width, 3).
    """
    pool = np.unique(np.linspace(0, len(frames.images) - 1, POOL).astype(np.int64))
    queries = pool[np.linspace(0, len(pool) - 1, rows).astype(np.int64)]
    same_episode = frames.episodes[queries][:, None] == frames.episodes[pool]
    columns = min(columns, int((~same_episode).sum(axis=1).min()))
    features = encode(encoder, torch.from_numpy(frames.images[pool, 0])).cpu()
    of_queries = features[np.searchsorted(pool, queries)]
    found = nearest(of_queries, features, torch.from_numpy(same_episode), columns)
    shown = np.column_stack([queries, pool[found.numpy()]])
    _, _, _, height, width = frames.images.shape
    picture = np.full(
        (rows * (height + BORDER), (1 + columns) * (width + BORDER), 3), 255, np.uint8
    )
    for i, line in enumerate(shown):
        for j, frame in enumerate(line):
            top, left = i * (height + BORDER), j * (width + BORDER)
            image = frames.images[frame, 0].transpose(1, 2, 0)
            picture[top : top + height, left : left + width] = image
    return picture


def as_png(picture: npt.NDArray[np.uint8]) -> bytes:
    """A picture (height, width, 3) as a PNG file."""
    box = io.BytesIO()
    Image.fromarray(picture).save(box, "png")
    return box.getvalue()
