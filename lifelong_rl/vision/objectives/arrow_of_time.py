"""Arrow of time: does a clip run forwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
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


@OBJECTIVES.register("arrow-of-time")
class ArrowOfTime(SelfSupervised):
    """Arrow of time: tell whether the frames of a clip are shown forwards or backwards.

    From the frames themselves; the paper's network sees the optical flow between them.

    Args:
        frames: To train on.
        augmentation: How images are changed; the frames of a clip are shifted alike.

    References:
        Wei et al. 2018, Learning and using the arrow of time.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of ArrowOfTime.

        Attributes:
            length: Frames of a clip (untuned).
            gap: From one of them to the next (untuned).
        """

        length: Annotated[int, Ge(2)] = 3
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
        self.head = mlp(self.options.length * self.dim, self.dim, 2)

    def collapse_value(self, n: int) -> float:
        """The logarithm of 2."""
        return math.log(2)

    def draw(self, timeline: Timeline, rng: np.random.Generator, n: int) -> Rows:
        """Frames in a row."""
        return timeline.draw_clips(rng, n, length=self.options.length, gap=self.options.gap)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the direction."""
        features = self.encode_rows(batch["images"])
        backwards = torch.randint(2, (len(features),), device=features.device)
        shown = torch.where(backwards.view(-1, 1, 1) == 1, features.flip(1), features)
        return F.cross_entropy(self.head(shown.flatten(1)), backwards)
