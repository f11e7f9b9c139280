"""Rotation: which way up is the frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives.base import SelfSupervised


@OBJECTIVES.register("rotation")
class Rotation(SelfSupervised):
    """Rotation: tell by how many quarter turns a frame was turned.

    Args:
        frames: To train on; they must be square.
        augmentation: How images are changed beside being turned.

    Raises:
        ValueError: The frames are not square.

    References:
        Gidaris et al. 2018, Unsupervised representation learning by predicting image rotations.
    """

    def __init__(self, frames: Frames, augmentation: Augmentation, /) -> None:
        super().__init__(frames, augmentation)
        height, width = frames.images.shape[-2:]
        if height != width:
            raise ValueError(f"images of {width}×{height} pixels cannot be turned; square ones can")
        self.head = nn.Linear(self.dim, 4)

    def collapse_value(self, n: int) -> float:
        """The logarithm of 4."""
        return math.log(4)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the turn of each frame."""
        images = self.augmentation.views(batch["images"])
        turns = torch.randint(4, (len(images),), device=images.device)
        return F.cross_entropy(self.head(self.encoder(turn(images, turns))), turns)


def turn(images: Tensor, turns: Tensor) -> Tensor:
    """Turn each of (n, c, h, h) by its number of quarter turns, counter-clockwise."""
    turned = torch.empty_like(images)
    for k in range(4):
        turned[turns == k] = images[turns == k].rot90(k, (2, 3))
    return turned
