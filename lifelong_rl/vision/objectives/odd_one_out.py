"""Odd one out: which of several clips is out of order."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.sampling import Rows, Timeline

FRAMES = 5
"""In a row, from which the clips are taken."""
ORDERED = tuple(itertools.combinations(range(FRAMES), 3))
SHUFFLES = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1))
"""Orders of three frames that are neither forwards nor backwards."""


@OBJECTIVES.register("odd-one-out")
class OddOneOut(SelfSupervised):
    """Odd one out: tell which of several clips of three frames is out of order.

    All clips are from the same five frames in a row, each of which is encoded once; what they show
    is concatenated.

    Args:
        frames: To train on.
        augmentation: How images are changed; the frames of a row are shifted alike.

    References:
        Fernando et al. 2017, Self-supervised video representation learning with odd-one-out
        networks.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of OddOneOut.

        Attributes:
            clips: Number of clips (untuned).
            gap: From one of the five frames to the next (untuned).
        """

        clips: Annotated[int, Ge(2)] = 3
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
        clips = self.options.clips
        self.clip_head = nn.Sequential(nn.Linear(3 * self.dim, self.dim), nn.ReLU())
        self.head = mlp(clips * self.dim, self.dim, clips)

    def collapse_value(self, n: int) -> float:
        """The logarithm of the number of clips."""
        return math.log(self.options.clips)

    def draw(self, timeline: Timeline, rng: np.random.Generator, n: int) -> Rows:
        """Five frames in a row."""
        return timeline.draw_clips(rng, n, length=FRAMES, gap=self.options.gap)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of which clip is the odd one."""
        features = self.encode_rows(batch["images"])
        device = features.device
        order, odd = draw_clip_orders(len(features), self.options.clips, device)
        shown = features[torch.arange(len(features), device=device).view(-1, 1, 1), order]
        return F.cross_entropy(self.head(self.clip_head(shown.flatten(2)).flatten(1)), odd)


def draw_clip_orders(
    n: int, clips: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Which frames to show in each clip, (n, clips, 3), and which clip is the odd one, (n,)."""
    drawn = torch.randint(len(ORDERED), (n, clips), device=device)
    order = torch.tensor(ORDERED, device=device)[drawn]
    odd = torch.randint(clips, (n,), device=device)
    drawn = torch.randint(len(SHUFFLES), (n,), device=device)
    shuffle = torch.tensor(SHUFFLES, device=device)[drawn]
    rows = torch.arange(n, device=device)
    order[rows, odd] = order[rows, odd].gather(1, shuffle)
    return order, odd
