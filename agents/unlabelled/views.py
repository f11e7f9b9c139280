"""Random views of rows that are pictures: weak ones, and strong ones.

Where a shifted or turned picture is still of its class (digits), a weak view is shifted by up to a
sixteenth of its edge, half a pixel of 8. FixMatch (Sohn et al. 2020, section 2.3) shifts by an
eighth and flips; but a digit that is flipped is none any more, and one of these, which fill their
8×8 pixels, is hardly known to a network that has seen one of its class when it is a pixel further.
A strong one is turned, sheared, scaled and shifted, has another contrast, noise, and a square of it
is cut out. RandAugment (Cubuk et al. 2020) draws two of fourteen such changes; on 8×8 pixels most
of those say nothing, so here all are made, each of random size.

Where the class tells a place (frames), nothing is moved: a weak view has another brightness and
contrast; a strong one more of both, another tint, noise and a square cut out.

No branch depends on values, so `torch.func.vmap` goes through all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.agents.unlabelled.base import Layout


@dataclass(frozen=True)
class Strength:
    """The largest changes.

    Attributes:
        shift: Of the place, in shares of an edge.
        turn: In degrees.
        shear: Pixels to the right for each pixel up.
        scale: Relative, of the size.
        brightness: In shares of the span of values.
        contrast: Relative.
        tint: Of each channel by itself, in shares of the span.
        noise: Standard deviation, in shares of the span.
        cut: Edge of the square cut out, in shares of an edge.
    """

    shift: float = 0.0
    turn: float = 0.0
    shear: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    tint: float = 0.0
    noise: float = 0.0
    cut: float = 0.0


WEAK = {
    True: Strength(shift=0.0625),
    False: Strength(brightness=0.02, contrast=0.1),
}
"""By whether pictures may be moved."""
STRONG = {
    True: Strength(
        shift=0.125, turn=20.0, shear=0.2, scale=0.15, contrast=0.3, noise=0.1, cut=0.375
    ),
    False: Strength(brightness=0.1, contrast=0.4, tint=0.05, noise=0.03, cut=0.25),
}


def view(rows: Tensor, layout: Layout | None, *, strong: bool) -> Tensor:
    """A random view of each row.

    Args:
        rows: (m, d); the pictures of each camera are changed by themselves.
        layout: How they are pictures.
        strong: Whether it is a strong one.
    """
    assert layout is not None  # or the objective would have been refused
    return change(rows, layout, (STRONG if strong else WEAK)[layout.turns])


def change(rows: Tensor, layout: Layout, most: Strength) -> Tensor:
    """Rows (m, d) changed at random, at most as much as `most` says."""
    shape = -1, layout.height, layout.width, layout.channels
    pictures = rows.reshape(shape).permute(0, 3, 1, 2)
    low, high = layout.span
    if most.shift or most.turn or most.shear or most.scale:
        pictures = _move(pictures, most)
    m, channels = pictures.shape[:2]
    middle = 0.5 * (low + high)
    if most.contrast:
        pictures = middle + (1 + most.contrast * _uniform(rows, m, 1, 1, 1)) * (pictures - middle)
    offset = most.brightness * _uniform(rows, m, 1, 1, 1)
    if most.tint:
        offset = offset + most.tint * _uniform(rows, m, channels, 1, 1)
    pictures = pictures + (high - low) * offset
    if most.noise:
        pictures = pictures + (high - low) * most.noise * torch.randn_like(pictures)
    if most.cut:
        pictures = pictures * _uncut(rows, m, layout, most.cut)
    return pictures.permute(0, 2, 3, 1).reshape(rows.shape)


def _uniform(like: Tensor, *shape: int) -> Tensor:
    """Numbers in (-1, 1)."""
    return 2 * torch.rand(shape, device=like.device, dtype=like.dtype) - 1


def _move(pictures: Tensor, most: Strength) -> Tensor:
    """Turn, shear, scale and shift (m, c, h, w) about the middle; what comes in is 0."""
    m, _, height, width = pictures.shape
    angle = math.radians(most.turn) * _uniform(pictures, m)
    shear, scale = most.shear * _uniform(pictures, m), 1 + most.scale * _uniform(pictures, m)
    right = most.shift * width * _uniform(pictures, m)
    down = most.shift * height * _uniform(pictures, m)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    x = (torch.arange(width, device=pictures.device) + 0.5) * 2 / width - 1
    y = (torch.arange(height, device=pictures.device) + 0.5) * 2 / height - 1
    x, y = x.view(1, 1, width), y.view(1, height, 1)

    def wide(values: Tensor) -> Tensor:
        return values.view(m, 1, 1)

    slanted = x + wide(shear) * y
    grid_x = wide(cos) * slanted - wide(sin) * y + wide(right) * 2 / width
    grid_y = wide(sin) * slanted + wide(cos) * y + wide(down) * 2 / height
    grid = torch.stack([grid_x, grid_y], dim=-1)
    return F.grid_sample(pictures, grid, mode="bilinear", align_corners=False)


def _uncut(like: Tensor, m: int, layout: Layout, share: float) -> Tensor:
    """1 where a picture is kept and 0 in a square of it, (m, 1, h, w)."""
    kept = []
    for length in (layout.height, layout.width):
        side = max(1, round(share * length))
        first = torch.randint(length - side + 1, (m, 1), device=like.device)
        place = torch.arange(length, device=like.device)
        kept.append((place >= first) & (place < first + side))
    hidden = kept[0].unsqueeze(2) & kept[1].unsqueeze(1)
    return (~hidden).to(like.dtype).unsqueeze(1)
