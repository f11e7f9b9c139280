"""Context: where is one patch of a frame, seen from another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import OptionError, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.objectives.base import SelfSupervised

AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""Down and right from the patch in the middle, in patches."""


@OBJECTIVES.register("context")
class Context(SelfSupervised):
    """Context: tell in which of eight directions from the middle a patch was taken.

    Patches are a quarter of the image wide, a third apart, and enlarged to the encoder's size.

    Args:
        frames: To train on.
        augmentation: How images are changed before patches are taken.

    References:
        Doersch et al. 2015, Unsupervised visual representation learning by context prediction.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of Context.

        Attributes:
            jitter: Largest random shift of each patch, in pixels, so that edges do not tell
                (untuned).
        """

        jitter: Whole = 2

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
        self.size = height, width
        room = min((length - length // 4) // 2 - length // 3 for length in self.size)
        if self.options.jitter > room:
            raise OptionError("jitter", "Context", f"at most {room}", self.options.jitter)
        self.head = mlp(2 * self.dim, self.dim, len(AROUND))

    def collapse_value(self, n: int) -> float:
        """The logarithm of 8."""
        return math.log(len(AROUND))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the direction of each frame's second patch."""
        images = self.augmentation.views(batch["images"])
        which = torch.randint(len(AROUND), (len(images),), device=images.device)
        around = torch.tensor(AROUND, device=images.device)[which]
        middle = self.patches(images, torch.zeros_like(around))
        beside = self.patches(images, around)
        one, other = self.encoder(torch.cat([middle, beside])).chunk(2)
        return F.cross_entropy(self.head(torch.cat([one, other], dim=1)), which)

    def patches(self, images: Tensor, direction: Tensor) -> Tensor:
        """The patch of each image in a direction (n, 2) from the middle, enlarged."""
        height, width = (length // 4 for length in self.size)
        windows = images.unfold(2, height, 1).unfold(3, width, 1)
        middle = direction.new_tensor([(length - length // 4) // 2 for length in self.size])
        step = direction.new_tensor([length // 3 for length in self.size])
        jitter = self.options.jitter
        noise = torch.randint_like(direction, -jitter, jitter + 1)
        down, right = (middle + step * direction + noise).T
        cut = windows[torch.arange(len(images), device=images.device), :, down, right]
        return F.interpolate(cut, size=self.size)
