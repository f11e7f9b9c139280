"""Exemplar: some frames are classes, and all their views belong to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.sampling import Rows, Timeline


@OBJECTIVES.register("exemplar")
class Exemplar(SelfSupervised):
    """Exemplar: classify views of some frames by which of these they are.

    Args:
        frames: To train on.
        augmentation: How the views of a class differ.

    References:
        Dosovitskiy et al. 2014, Discriminative unsupervised feature learning with convolutional
        neural networks.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of Exemplar.

        Attributes:
            classes: Number of exemplars, at most; no two are less than `margin` apart (untuned).
            margin: Between exemplars of one episode, in frames (untuned).
        """

        classes: Count = 2048
        margin: Count = 5

    options: Options

    knows_frames = True
    labels: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        super().__init__(frames, augmentation, options, **given)
        positions = Timeline(frames.episodes, frames.steps).positions
        apart = torch.from_numpy(np.flatnonzero(positions % self.options.margin == 0))
        chosen = apart[torch.randperm(len(apart))[: self.options.classes]]
        self._exemplars = chosen.numpy()
        labels = torch.full((self.num_frames,), -1)
        labels[chosen] = torch.arange(len(chosen))
        self.register_buffer("labels", labels)
        self.head = nn.Linear(self.dim, len(chosen))

    def collapse_value(self, n: int) -> float:
        """The logarithm of the number of exemplars."""
        return math.log(len(self._exemplars))

    def draw(self, timeline: Timeline, rng: np.random.Generator, n: int) -> Rows:
        """Any n exemplars; some twice if there are fewer."""
        drawn = rng.choice(self._exemplars, n, replace=n > len(self._exemplars))
        return np.asarray(drawn)[:, None]

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the exemplars."""
        logits = self.head(self.encoder(self.augmentation.views(batch["images"])))
        return F.cross_entropy(logits, self.labels[batch["index"]])
