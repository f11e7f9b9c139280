"""TCN: moments that are close, or one moment seen twice, are alike; later ones are not."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.losses import triplet_margin
from lifelong_rl.vision.objectives.base import SelfSupervised, check_options
from lifelong_rl.vision.sampling import Rows, Timeline


@OBJECTIVES.register("tcn")
class TCN(SelfSupervised):
    """Time-contrastive network: a moment is nearer to itself than to others of its episode.

    The positive is the next frame, or the same moment seen by another camera; the negative is a
    frame of the same episode, some time before or after.

    Args:
        frames: To train on.
        augmentation: How images are changed; those of a row are shifted alike.
        between: "time" for a frame and the one after it, "cameras" for the first two cameras.
        gap: From a frame to its positive, in frames, if that is another frame.
        margin: From a frame to its negative, in frames, at the least.
        distance: By how much the negative should be farther away, in squared distance.
        projection: Size of what is compared.

    Raises:
        ValueError: An option outside its range.
        UserError: Two cameras are asked for, and the frames have one.

    References:
        Sermanet et al. 2018, Time-contrastive networks: self-supervised learning from video.
    """

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        /,
        *,
        between: Literal["time", "cameras"] = "time",
        gap: int = 1,
        margin: int = 5,
        distance: float = 0.2,
        projection: int = 128,
    ) -> None:
        check_options(gap=gap, distance=distance, projection=projection)
        if margin <= gap:
            raise ValueError(f"margin must be more than gap, {gap}, not {margin}")
        if between not in ("time", "cameras"):
            raise ValueError(f"between must be time or cameras, not {between!r}")
        super().__init__(frames, augmentation, num_cameras=2 if between == "cameras" else 1)
        self.gap, self.margin, self.distance = gap, margin, distance
        self.head = mlp(self.dim, projection, projection)

    def collapse_value(self, n: int) -> float:
        """The distance that is asked for."""
        return self.distance

    def draw(self, timeline: Timeline, rng: np.random.Generator, n: int) -> Rows:
        """Frames, each with its positive (if that is another frame) and its negative."""
        length = 1 if self.num_cameras == 2 else 2
        near = timeline.draw_clips(rng, n, length=length, gap=self.gap, margin=self.margin)
        return np.column_stack([near, timeline.draw_far(rng, near[:, 0], self.margin)])

    def loss(self, batch: Batch) -> Tensor:
        """The triplet loss; a second camera sees the negative, as it sees the positive."""
        images = batch["images"]
        if self.num_cameras == 2:
            images = images[:, [0, 1, 3]]
        embeddings = self.head(self.encoder(self.augmentation.views(images, aligned=False)))
        anchors, positives, negatives = embeddings.chunk(3)
        return triplet_margin(anchors, positives, negatives, self.distance)
