"""Shuffle and learn: does a frame lie between two others in time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.sampling import Rows, Timeline


@OBJECTIVES.register("shuffle-and-learn")
class ShuffleAndLearn(SelfSupervised):
    """Shuffle and learn: tell whether the second of three frames was between the other two.

    Of five frames a to e in a row the three are b, c, d, forwards or backwards, or else b, a, d or
    b, e, d.

    Args:
        frames: To train on.
        augmentation: How images are changed; the frames of a row are shifted alike.

    References:
        Misra et al. 2016, Shuffle and learn: unsupervised learning using temporal order
        verification.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of ShuffleAndLearn.

        Attributes:
            gap: From one of the five frames to the next (untuned).
        """

        gap: Count = 2

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
        self.head = mlp(3 * self.dim, self.dim, 2)

    def collapse_value(self, n: int) -> float:
        """The logarithm of 2."""
        return math.log(2)

    def draw(self, timeline: Timeline, rng: np.random.Generator, n: int) -> Rows:
        """Five frames in a row."""
        return timeline.draw_clips(rng, n, length=5, gap=self.options.gap)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of whether the frames are in order."""
        shown = batch["images"]
        order, in_order = draw_order(len(shown), shown.device)
        images = shown[torch.arange(len(order), device=shown.device).unsqueeze(1), order]
        return F.cross_entropy(self.head(self.encode_rows(images).flatten(1)), in_order)


def draw_order(n: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Which three of five frames to show, (n, 3), and whether they are in order, (n,) int64."""
    in_order = torch.randint(2, (n,), device=device)
    outside = 4 * torch.randint(2, (n,), device=device)
    second = torch.where(in_order == 1, 2, outside)
    first = 1 + 2 * torch.randint(2, (n,), device=device)
    return torch.stack([first, second, 4 - first], dim=1), in_order
