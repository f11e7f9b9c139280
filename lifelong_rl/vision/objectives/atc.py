"""ATC: a frame tells which frame comes soon after it, for a slow encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Share, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import SlowNetwork, mlp
from lifelong_rl.vision.losses import bilinear_nce
from lifelong_rl.vision.objectives.base import SelfSupervised, near_in_time
from lifelong_rl.vision.sampling import Rows, Timeline


@OBJECTIVES.register("atc")
class ATC(SelfSupervised):
    """Augmented temporal contrast: predict what a slow encoder makes of a frame soon after.

    Args:
        frames: To train on.
        augmentation: How images are changed; the two frames of a row are shifted alike.

    References:
        Stooke et al. 2021, Decoupling representation learning from reinforcement learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of ATC.

        Attributes:
            gap: To the later frame, in frames (untuned).
            momentum: By which the slow encoder follows (Stooke et al. 2021, in their
                implementation).
            code: Size of what is contrasted (untuned).
            margin: Frames of one episode that are less apart are no negatives of each other
                (untuned).
        """

        gap: Count = 1
        momentum: Share = 0.99
        code: Count = 128
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
        code = self.options.code
        self.compressor = nn.Linear(self.dim, code)
        self.predictor = mlp(code, 2 * code, code)
        self.weight = nn.Parameter(torch.eye(code) / code)
        self.slow = SlowNetwork(self.network, self.options.momentum)

    @property
    def network(self) -> nn.Sequential:
        """What makes the codes."""
        return nn.Sequential(self.encoder, self.compressor)

    def collapse_value(self, n: int) -> float:
        """The logarithm of n."""
        return math.log(n)

    def draw(self, timeline: Timeline, rng: np.random.Generator, n: int) -> Rows:
        """Frames, each with one after it."""
        return timeline.draw_clips(rng, n, length=2, gap=self.options.gap)

    def loss(self, batch: Batch) -> Tensor:
        """The contrastive loss."""
        now, then = self.augmentation.views(batch["images"], aligned=False).chunk(2)
        keys = self.slow(then)
        code = self.network(now)
        queries = code + self.predictor(code)
        return bilinear_nce(queries, keys, self.weight, near_in_time(batch, self.options.margin))

    def after_step(self, optimizer: Optimizer) -> None:
        """Let the slow encoder follow."""
        self.slow.follow(self.network)
