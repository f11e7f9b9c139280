"""Counting: what is counted in the quarters of a frame adds up to what is counted in all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Positive
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.encoder import to_float
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.losses import counting
from lifelong_rl.vision.objectives.base import SelfSupervised


@OBJECTIVES.register("counting")
class Counting(SelfSupervised):
    """Counting: non-negative counts in a frame's quarters add up to those in the whole frame.

    And not to those in another frame, lest nothing be counted. Five images of each row go through
    the encoder: the whole at half its resolution and the quarters, all enlarged to its size.

    Args:
        frames: To train on; their sides must be even.
        augmentation: How each of the five images is changed, once they are cut.

    Raises:
        ValueError: The frames have odd sides.

    References:
        Noroozi et al. 2017, Representation learning by learning to count.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of Counting.

        Attributes:
            counts: How many things are counted (untuned; 1000 in Noroozi et al. 2017).
            distance: By how much another frame should differ, in squared distance (Noroozi et al.
                2017).
        """

        counts: Count = 64
        distance: Positive = 10.0

    options: Options

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        super().__init__(frames, augmentation, options, **given)
        height, width = frames.images.shape[-2:]
        if height % 2 or width % 2:
            raise ValueError(f"images of {width}×{height} pixels have no quarters")
        self.head = nn.Sequential(mlp(self.dim, self.options.counts), nn.ReLU())

    def collapse_value(self, n: int) -> float:
        """The distance that is asked for."""
        return self.options.distance

    def loss(self, batch: Batch) -> Tensor:
        """The loss of counting, with the next row's frame as the other one."""
        pictures = to_float(self.augmentation.shifted(batch["images"]))
        images = self.augmentation.view(whole_and_quarters(pictures))  # or it could count cutouts
        whole, *parts = self.head(self.encoder(images)).chunk(5)
        return counting(
            whole, torch.stack(parts, dim=1), whole.roll(1, dims=0), self.options.distance
        )


def whole_and_quarters(images: Tensor) -> Tensor:
    """Images (n, c, h, w) at half their resolution, then their quarters, enlarged: (5 n, c, h, w).

    The quarters are the upper left of all images, the upper right, the lower left, the lower right.
    """
    _, _, height, width = images.shape
    upper, lower = torch.split(images, height // 2, dim=2)
    small = [F.avg_pool2d(images, 2)]
    small += [part for half in (upper, lower) for part in torch.split(half, width // 2, dim=3)]
    return F.interpolate(torch.cat(small), scale_factor=2)
