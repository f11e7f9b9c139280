"""SimCLR: two views of a frame are alike, and unlike the views of all other frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from lifelong_rl.compatibility import Trait
from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Positive, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.losses import nt_xent
from lifelong_rl.vision.objectives.base import SelfSupervised, near_in_time


@OBJECTIVES.register("simclr")
class SimCLR(SelfSupervised):
    """SimCLR: tell the other view of a frame from all views of the other frames in the batch.

    Args:
        frames: To train on.
        augmentation: How the two views differ.

    References:
        Chen et al. 2020, A simple framework for contrastive learning of visual representations.
    """

    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses", "comparison")

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of SimCLR.

        Attributes:
            temperature: τ of the loss (Chen et al. 2020, table 5).
            projection: Units of the projector's layers (Chen et al. 2020).
            margin: Frames of one episode that are less apart are no negatives of each other
                (untuned).
        """

        temperature: Positive = 0.1
        projection: Count = 128
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
        projection = self.options.projection
        self.projector = mlp(self.dim, projection, projection)

    def collapse_value(self, n: int) -> float:
        """log(2n − 1)."""
        return math.log(2 * n - 1)

    def loss(self, batch: Batch) -> Tensor:
        """The normalised, temperature-scaled cross-entropy."""
        views = self.augmentation.views(batch["images"], copies=2, aligned=False)
        first, second = self.projector(self.encoder(views)).chunk(2)
        return self.contrast(first, second, batch)

    def contrast(self, first: Tensor, second: Tensor, batch: Batch) -> Tensor:
        """The same of any two embeddings."""
        return nt_xent(
            first, second, self.options.temperature, near_in_time(batch, self.options.margin)
        )
