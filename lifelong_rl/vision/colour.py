"""Parts of a colour image: what some objectives hide, and let the encoder predict."""

from __future__ import annotations

import torch
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in what the eye sees as bright (ITU-R BT.601)."""


def luminance(images: Tensor) -> Tensor:
    """Y, (n, 1, h, w) in [0, 1], of colour images (n, 3, h, w) in [0, 1]."""
    red, green, blue = LUMINANCE
    mixed = red * images[:, 0] + green * images[:, 1] + blue * images[:, 2]
    return mixed.unsqueeze(1)


def chroma(images: Tensor) -> Tensor:
    """Cb and Cr, (n, 2, h, w) in [0, 1], of colour images (n, 3, h, w) in [0, 1]; grey is ½.

    The two do not change when the same number is added to red, green and blue (ITU-R BT.601).
    """
    bright = luminance(images)
    red, _, blue = LUMINANCE
    to_blue = (images[:, 2:3] - bright) / (2 * (1 - blue))
    to_red = (images[:, 0:1] - bright) / (2 * (1 - red))
    return 0.5 + torch.cat([to_blue, to_red], dim=1)
