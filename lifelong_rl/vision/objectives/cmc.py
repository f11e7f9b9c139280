"""CMC: two ways to look at a frame agree about which frame it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Positive, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.losses import two_view_nce
from lifelong_rl.vision.objectives.base import SelfSupervised, near_in_time


@OBJECTIVES.register("cmc")
class CMC(SelfSupervised):
    """Contrastive multiview coding: luminance and colour, or two cameras, tell the same frame.

    Luminance and colour have half of the encoder each; two cameras share the whole of it.

    Args:
        frames: To train on.
        augmentation: How images are changed, each view in its own way; all views of a frame are
            shifted alike.

    Raises:
        UserError: Two cameras are asked for, and the frames have one.

    References:
        Tian et al. 2020, Contrastive multiview coding.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of CMC.

        Attributes:
            between: "colour" for luminance and chroma, "cameras" for the first two cameras (Tian et
                al. 2020).
            temperature: τ of the loss (untuned: as SimCLR's).
            projection: Units of the projectors' layers (untuned: as SimCLR's).
            margin: Frames of one episode that are less apart are no negatives of each other
                (untuned).
        """

        between: Literal["colour", "cameras"] = "colour"
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
        options = self.Options.of(options, given)
        colour = options.between == "colour"
        views = ("luminance", "chroma") if colour else ("rgb",)
        super().__init__(frames, augmentation, options, views=views, num_cameras=1 if colour else 2)
        self.projectors = nn.ModuleList(
            mlp(self.dim // len(views), options.projection, options.projection) for _ in range(2)
        )

    def collapse_value(self, n: int) -> float:
        """2 log n: log n each way."""
        return 2 * math.log(n)

    def loss(self, batch: Batch) -> Tensor:
        """The contrastive loss, both ways."""
        if self.num_cameras == 2:
            images = self.augmentation.views(batch["images"])
            features = list(self.encoder(images).chunk(2))
        else:  # a change that both saw would tell which they are of
            images = self.augmentation.views(batch["images"], copies=2)
            features = self.encoder.encode_views(*images.chunk(2))
        first, second = (head(f) for head, f in zip(self.projectors, features, strict=True))
        return two_view_nce(
            first, second, self.options.temperature, near_in_time(batch, self.options.margin)
        )
