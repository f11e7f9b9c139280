"""Split-brain: half of the encoder tells the colours from the brightness, half the reverse."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.encoder import see
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import GridDecoder
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.prediction import constant_squared_error

GRID = 16
"""Places along either axis that are predicted."""


@OBJECTIVES.register("split-brain")
class SplitBrain(SelfSupervised):
    """Split-brain autoencoder: luminance predicts chroma, and chroma luminance, on a grid.

    Both by squared error; each is measured in units of its variance, so that they weigh alike.

    Args:
        frames: To train on.
        augmentation: How what the encoder sees is changed; what it shall tell is only shifted.

    References:
        Zhang et al. 2017, Split-brain autoencoders: unsupervised learning by cross-channel
        prediction.
    """

    def __init__(self, frames: Frames, augmentation: Augmentation, /) -> None:
        super().__init__(frames, augmentation, views=("luminance", "chroma"))
        half = self.dim // 2
        self.to_chroma = GridDecoder(half, GRID, GRID, 2)
        self.to_luminance = GridDecoder(half, GRID, GRID, 1)
        sample = self.sample_pictures(frames)
        self.variance = {
            view: max(constant_squared_error(places(sample, view)), 1e-8)
            for view in self.encoder.spec.views
        }

    def collapse_value(self, n: int) -> float:
        """2: of each prediction the whole variance."""
        return 2.0

    def loss(self, batch: Batch) -> Tensor:
        """The sum of the two predictions' errors."""
        views, pictures = self.augmentation.views_and_pictures(batch["images"])
        bright, colour = self.encoder.encode_views(views)
        to_chroma = F.mse_loss(self.to_chroma(bright), places(pictures, "chroma"))
        to_luminance = F.mse_loss(self.to_luminance(colour), places(pictures, "luminance"))
        return to_chroma / self.variance["chroma"] + to_luminance / self.variance["luminance"]


def places(images: Tensor, view: str) -> Tensor:
    """The mean of a view at each place, (n, GRID², c), of images (n, 3, h, w) in [0, 1]."""
    return F.adaptive_avg_pool2d(see(images, view), GRID).flatten(2).transpose(1, 2)
