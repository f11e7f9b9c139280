"""CPC: a frame tells which frames follow it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.losses import bilinear_nce
from lifelong_rl.vision.objectives.base import SelfSupervised, near_in_time
from lifelong_rl.vision.sampling import Rows, Timeline


@OBJECTIVES.register("cpc")
class CPC(SelfSupervised):
    """Contrastive predictive coding: from a frame, tell each of the next from other frames.

    The context is the frame itself, not the state of a recurrent network; every horizon has a
    bilinear form of its own.

    Args:
        frames: To train on.
        augmentation: How images are changed; the frames of a row are shifted alike.

    References:
        van den Oord et al. 2018, Representation learning with contrastive predictive coding.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of CPC.

        Attributes:
            horizon: How many of the following frames to predict (untuned).
            gap: From one of them to the next, in frames (untuned).
            margin: Frames of one episode that are less apart are no negatives of each other
                (untuned).
        """

        horizon: Count = 1
        gap: Count = 1
        margin: Whole = 5

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
        horizon = self.options.horizon
        self.weights = nn.Parameter(torch.eye(self.dim).div(self.dim).repeat(horizon, 1, 1))

    def collapse_value(self, n: int) -> float:
        """The logarithm of n."""
        return math.log(n)

    def draw(self, timeline: Timeline, rng: np.random.Generator, n: int) -> Rows:
        """Frames, each with those that follow it."""
        return timeline.draw_clips(rng, n, length=1 + len(self.weights), gap=self.options.gap)

    def loss(self, batch: Batch) -> Tensor:
        """The contrastive loss, averaged over the horizons."""
        features = self.encoder(self.augmentation.views(batch["images"], aligned=False))
        now, *later = features.chunk(1 + len(self.weights))
        excluded = near_in_time(batch, self.options.margin)
        losses = [
            bilinear_nce(now, then, weight, excluded)
            for then, weight in zip(later, self.weights, strict=True)
        ]
        return torch.stack(losses).mean()
