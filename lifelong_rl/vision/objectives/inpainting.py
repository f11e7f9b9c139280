"""Inpainting: what is in the middle of a frame that was painted over."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import GridDecoder, to_patches
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.prediction import constant_squared_error

GREY = 0.5
SIDE = 8
"""Of the patches that the decoder paints, in pixels."""


@OBJECTIVES.register("inpainting")
class Inpainting(SelfSupervised):
    """Inpainting: fill in the middle of a frame, a quarter of its area, pixel by pixel.

    Only by squared error; the adversarial part of the paper is left out.

    Args:
        frames: To train on; their sides must be multiples of 32 pixels.
        augmentation: How what the encoder sees is changed; what it shall tell is only shifted.

    Raises:
        ValueError: The frames are of another size.

    References:
        Pathak et al. 2016, Context encoders: feature learning by inpainting.
    """

    def __init__(self, frames: Frames, augmentation: Augmentation, /) -> None:
        super().__init__(frames, augmentation)
        height, width = frames.images.shape[-2:]
        if height % (4 * SIDE) or width % (4 * SIDE):
            raise ValueError(f"the sides of {width}×{height} are no multiples of {4 * SIDE} pixels")
        self.middle = (
            slice(height // 4, height - height // 4),
            slice(width // 4, width - width // 4),
        )
        rows, columns = height // 2 // SIDE, width // 2 // SIDE
        self.decoder = GridDecoder(self.dim, rows, columns, 3 * SIDE**2)
        pictures = self.sample_pictures(frames)
        self._collapse = constant_squared_error(pictures[:, :, *self.middle])

    def collapse_value(self, n: int) -> float:
        """The variance of the pixels, each around its own mean."""
        return self._collapse

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the pixels in the middle."""
        views, pictures = self.augmentation.views_and_pictures(batch["images"])
        hidden = to_patches(pictures[:, :, *self.middle], SIDE)
        views[:, :, *self.middle] = GREY
        return F.mse_loss(self.decoder(self.encoder(views)), hidden)
