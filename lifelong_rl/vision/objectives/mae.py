"""MAE: what is in the patches of a frame that were hidden, most of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, OpenShare
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import GridDecoder, from_patches, to_patches
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.prediction import constant_squared_error

GREY = 0.5


@OBJECTIVES.register("mae")
class MAE(SelfSupervised):
    """Masked autoencoder: paint the patches that were hidden, pixel by pixel.

    The encoder is the ConvNet that sees all patches, the hidden ones grey; the paper's is a
    transformer that sees only the others.

    Args:
        frames: To train on.
        augmentation: How what the encoder sees is changed; what it shall tell is only shifted.

    References:
        He et al. 2022, Masked autoencoders are scalable vision learners.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of MAE.

        Attributes:
            patch: Side of a patch, in pixels; it must divide the image (untuned: 64 patches).
            masked: Share of the patches that are hidden (He et al. 2022).
        """

        patch: Count = 8
        masked: OpenShare = 0.75

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
        patch = self.options.patch
        height, width = frames.images.shape[-2:]
        patches = to_patches(self.sample_pictures(frames), patch)
        count_masked(patches.shape[1], self.options.masked)
        self.decoder = GridDecoder(self.dim, height // patch, width // patch, 3 * patch**2)
        self._collapse = constant_squared_error(patches)

    def collapse_value(self, n: int) -> float:
        """The variance of the pixels, each around its own mean."""
        return self._collapse

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the hidden pixels."""
        views, pictures = self.augmentation.views_and_pictures(batch["images"])
        seen, mask = hide_patches(views, self.options.patch, self.options.masked)
        painted: Tensor = self.decoder(self.encoder(seen))
        return (painted - to_patches(pictures, self.options.patch))[mask].square().mean()


def count_masked(places: int, share: float) -> int:
    """How many of the places are hidden.

    Raises:
        ValueError: None or all of them.
    """
    count = round(share * places)
    if not 0 < count < places:
        raise ValueError(f"masked must hide some of {places} patches and not all, not {share}")
    return count


def hide_patches(images: Tensor, side: int, share: float) -> tuple[Tensor, Tensor]:
    """Paint patches of images grey, at random.

    Args:
        images: (n, c, h, w).
        side: Of a patch.
        share: Of the patches, which are hidden.

    Returns:
        The images, and which patches were hidden, (n, places) bool.
    """
    patches = to_patches(images, side)
    mask = random_mask(len(patches), patches.shape[1], share, patches.device)
    return from_patches(patches.masked_fill(mask.unsqueeze(2), GREY), side, *images.shape[2:]), mask


def random_mask(n: int, places: int, share: float, device: torch.device | None = None) -> Tensor:
    """Hide the same number of places in each row, at random, (n, places) bool on a device."""
    drawn = torch.rand(n, places, device=device)
    hidden = drawn.topk(count_masked(places, share), dim=1).indices
    return torch.zeros_like(drawn, dtype=torch.bool).scatter_(1, hidden, True)
