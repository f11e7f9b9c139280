"""The self-supervised objective: an encoder, what is learned beside it, and a loss on frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.compatibility import Trait
from lifelong_rl.errors import UserError
from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import DeclaredOptions
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, to_float
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.sampling import Rows, Timeline, too_close

SAMPLE = 1024
"""Frames that an objective gets its constants from."""


class SelfSupervised(nn.Module):
    """Base of all objectives; a subclass adds its heads, its loss and its options.

    A batch holds "images" (n, k, 3, h, w) uint8, which `draw` has chosen; "index" (n,), the row of
    the first image's frame among the training frames; and its "episode" and "position" in it, (n,).
    Everything random is drawn in the loss, from torch's global generator, so that rows of memory
    can stand beside fresh ones.

    Args:
        frames: To train on.
        augmentation: How images are changed.
        views: What the encoder looks at, see `EncoderSpec`.
        num_cameras: How many cameras the loss needs; the k images of a row are then those of each
            camera for the first frame drawn, those for the second, and so on.
        options: By default all options are as their class declares them.
        **given: Options by name, on top of these: `SimCLR(frames, augmentation, temperature=0.2)`.

    Attributes:
        options: Of this objective.
        encoder: What is kept when training is over.
        offers: What a method for encoders may need: see `lifelong_rl.compatibility`.
        knows_frames: Whether it keeps something of each training frame, by its "index"; it can then
            learn from no others.

    Raises:
        UserError: The frames are of fewer cameras.
        UnknownNameError: There is no such option.
        OptionError: An option does not allow the value.
    """

    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses",)

    @dataclass(frozen=True, kw_only=True)
    class Options(DeclaredOptions):
        """Options of every objective: none."""

    knows_frames: ClassVar[bool] = False
    options: Options

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        *,
        views: tuple[str, ...] = ("rgb",),
        num_cameras: int = 1,
        **given: Any,
    ) -> None:
        super().__init__()
        self.options = self.Options.of(options, given)
        _, cameras, _, height, width = frames.images.shape
        if cameras < num_cameras:
            raise UserError(f"{num_cameras} cameras are needed, and the frames are of {cameras}")
        self.encoder = Encoder(EncoderSpec(height=height, width=width, views=views))
        self.augmentation = augmentation
        self.num_frames = len(frames.images)
        self.num_cameras = num_cameras

    @property
    def device(self) -> torch.device:
        """That it was moved to; it is made on the CPU, its constants too."""
        return next(self.parameters()).device

    @property
    def dim(self) -> int:
        """Number of the encoder's features."""
        return self.encoder.spec.dim

    def collapse_value(self, n: int) -> float:
        """The loss on n rows if the encoder tells nothing, because all images are alike to it."""
        raise NotImplementedError

    def draw(self, timeline: Timeline, rng: np.random.Generator, n: int) -> Rows:
        """Choose the frames of a batch, (n, k); by default k = 1, any n frames."""
        return timeline.draw_clips(rng, n)

    def loss(self, batch: Batch) -> Tensor:
        """The loss on a batch, a scalar."""
        raise NotImplementedError

    def contrast(self, first: Tensor, second: Tensor, batch: Batch) -> Tensor | None:
        """The loss of two embeddings of each row being alike, a scalar.

        Args:
            first: (n, d).
            second: (n, d).
            batch: The n rows.

        Returns:
            None if this objective does not compare embeddings that way.
        """
        return None

    def encode_rows(self, images: Tensor) -> Tensor:
        """The features of each image of (n, k, 3, h, w) uint8, changed, (n, k, dim)."""
        features: Tensor = self.encoder(self.augmentation.views(images))
        return features.view(images.shape[1], -1, self.dim).transpose(0, 1)

    def sample_pictures(self, frames: Frames) -> Tensor:
        """Pictures as they are to be predicted: shifted, float in [0, 1], (n, 3, h, w)."""
        chosen = frames.images[:: max(self.num_frames // SAMPLE, 1)][:SAMPLE, :1]
        return to_float(self.augmentation.shifted(torch.from_numpy(chosen)))

    def after_step(self, optimizer: Optimizer) -> None:
        """Called after the optimizer has stepped on the batch that `loss` was last given.

        Args:
            optimizer: Of this objective. Where parameters are made anew, its moments of the old
                ones are to be forgotten: `lifelong_rl.learning.parameters.forget_moments`.
        """


def near_in_time(batch: Batch, margin: int) -> Tensor:
    """Which frames of a batch are no negatives of each other, (n, n) bool; see `too_close`."""
    moment = batch["episode"], batch["position"]
    return too_close(*moment, *moment, margin)
