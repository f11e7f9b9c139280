"""TCN: moments that are close, or one moment seen twice, are alike; later ones are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, OptionError, Positive, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.losses import triplet_margin
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.sampling import Rows, Timeline


@OBJECTIVES.register("tcn")
class TCN(SelfSupervised):
    """Time-contrastive network: a moment is nearer to itself than to others of its episode.

    The positive is the next frame, or the same moment seen by another camera; the negative is a
    frame of the same episode, some time before or after.

    Args:
        frames: To train on.
        augmentation: How images are changed; those of a row are shifted alike.

    Raises:
        UserError: Two cameras are asked for, and the frames have one.

    References:
        Sermanet et al. 2018, Time-contrastive networks: self-supervised learning from video.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of TCN.

        Attributes:
            between: "time" for a frame and the one after it, "cameras" for the first two cameras
                (untuned: needs one camera).
            gap: From a frame to its positive, in frames, if that is another frame (untuned).
            margin: From a frame to its negative, in frames, at the least (untuned).
            distance: By how much the negative should be farther away, in squared distance
                (untuned).
            projection: Size of what is compared (untuned).
        """

        between: Literal["time", "cameras"] = "time"
        gap: Count = 1
        margin: Whole = 5
        distance: Positive = 0.2
        projection: Count = 128

        def __post_init__(self) -> None:
            """Check that a negative is farther away than a positive."""
            super().__post_init__()
            if self.margin <= self.gap:
                raise OptionError("margin", self.owner(), f"more than gap, {self.gap}", self.margin)

    options: Options

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        options = self.Options.of(options, given)
        num_cameras = 2 if options.between == "cameras" else 1
        super().__init__(frames, augmentation, options, num_cameras=num_cameras)
        self.head = mlp(self.dim, options.projection, options.projection)

    def collapse_value(self, n: int) -> float:
        """The distance that is asked for."""
        return self.options.distance

    def draw(self, timeline: Timeline, rng: np.random.Generator, n: int) -> Rows:
        """Frames, each with its positive (if that is another frame) and its negative."""
        length = 1 if self.num_cameras == 2 else 2
        near = timeline.draw_clips(
            rng, n, length=length, gap=self.options.gap, margin=self.options.margin
        )
        return np.column_stack([near, timeline.draw_far(rng, near[:, 0], self.options.margin)])

    def loss(self, batch: Batch) -> Tensor:
        """The triplet loss; a second camera sees the negative, as it sees the positive."""
        images = batch["images"]
        if self.num_cameras == 2:
            images = images[:, [0, 1, 3]]
        embeddings = self.head(self.encoder(self.augmentation.views(images, aligned=False)))
        anchors, positives, negatives = embeddings.chunk(3)
        return triplet_margin(anchors, positives, negatives, self.options.distance)
