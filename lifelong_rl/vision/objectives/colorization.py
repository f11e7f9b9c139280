"""Colorization: which colours does a grey frame have, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, PositiveShare
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.clustering import assign, kmeans
from lifelong_rl.vision.colour import chroma
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import GridDecoder
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.prediction import constant_cross_entropy

GRID = 16
"""Places along either axis whose colour is predicted."""
SAMPLE = 50_000
"""Places to find the colours from."""


@OBJECTIVES.register("colorization")
class Colorization(SelfSupervised):
    """Colorization: from luminance alone, tell the colour at each place of a grid as a class.

    The classes are clusters of the colours that occur; rare ones weigh more (eq. 4 of the paper).
    The encoder is blind to colour.

    Args:
        frames: To train on.
        augmentation: How what the encoder sees is changed; what it shall tell is only shifted.

    References:
        Zhang et al. 2016, Colorful image colorization.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of Colorization.

        Attributes:
            colours: Number of classes (untuned; 313 in Zhang et al. 2016).
            rebalancing: λ, how far the weights go from the inverse frequency, at 0, to equal ones,
                at 1 (Zhang et al. 2016).
        """

        colours: Count = 32
        rebalancing: PositiveShare = 0.5

    options: Options

    centres: Tensor
    weight: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        super().__init__(frames, augmentation, options, views=("luminance",), **given)
        colours, rebalancing = self.options.colours, self.options.rebalancing
        found = places(self.sample_pictures(frames))
        flat = found.flatten(0, 1)
        centres = kmeans(flat[torch.randperm(len(flat))[:SAMPLE]], colours).centres
        classes = assign(flat, centres)
        frequency = torch.bincount(classes, minlength=colours) / len(classes)
        weight = 1 / ((1 - rebalancing) * frequency + rebalancing / colours)
        self.register_buffer("centres", centres)
        self.register_buffer("weight", weight / (frequency * weight).sum())
        self.decoder = GridDecoder(self.dim, GRID, GRID, colours)
        self._collapse = constant_cross_entropy(classes.view(found.shape[:2]), self.weight)

    def collapse_value(self, n: int) -> float:
        """The weighted entropy of the colours at each place."""
        return self._collapse

    def loss(self, batch: Batch) -> Tensor:
        """Weighted cross-entropy of the colours."""
        views, pictures = self.augmentation.views_and_pictures(batch["images"])
        classes = assign(places(pictures).flatten(0, 1), self.centres)
        predicted = self.decoder(self.encoder(views)).flatten(0, 1)
        return F.cross_entropy(predicted, classes, self.weight)


def places(images: Tensor) -> Tensor:
    """The mean chroma at each place, (n, GRID², 2), of images (n, 3, h, w) in [0, 1]."""
    return F.adaptive_avg_pool2d(chroma(images), GRID).flatten(2).transpose(1, 2)
