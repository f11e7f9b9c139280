"""CMC: two ways to look at a frame agree about which frame it is."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.losses import two_view_nce
from lifelong_rl.vision.objectives.base import SelfSupervised, check_options, near_in_time


@OBJECTIVES.register("cmc")
class CMC(SelfSupervised):
    """Contrastive multiview coding: luminance and colour, or two cameras, tell the same frame.

    Luminance and colour have half of the encoder each; two cameras share the whole of it.

    Args:
        frames: To train on.
        augmentation: How images are changed; all views of a frame are shifted alike.
        between: "colour" for luminance and chroma, "cameras" for the first two cameras.
        temperature: τ of the loss.
        projection: Units of the projectors' layers.
        margin: Frames of one episode that are less apart are no negatives of each other.

    Raises:
        ValueError: An option outside its range.
        UserError: Two cameras are asked for, and the frames have one.

    References:
        Tian et al. 2020, Contrastive multiview coding.
    """

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        /,
        *,
        between: Literal["colour", "cameras"] = "colour",
        temperature: float = 0.1,
        projection: int = 128,
        margin: int = 5,
    ) -> None:
        check_options(temperature=temperature, projection=projection)
        if between not in ("colour", "cameras"):
            raise ValueError(f"between must be colour or cameras, not {between!r}")
        colour = between == "colour"
        views = ("luminance", "chroma") if colour else ("rgb",)
        super().__init__(frames, augmentation, views=views, num_cameras=1 if colour else 2)
        self.temperature, self.margin = temperature, margin
        self.projectors = nn.ModuleList(
            mlp(self.dim // len(views), projection, projection) for _ in range(2)
        )

    def collapse_value(self, n: int) -> float:
        """2 log n: log n each way."""
        return 2 * math.log(n)

    def loss(self, batch: Batch) -> Tensor:
        """The contrastive loss, both ways."""
        images = self.augmentation.views(batch["images"])
        if self.num_cameras == 2:
            features = list(self.encoder(images).chunk(2))
        else:
            features = self.encoder.encode_views(images)
        first, second = (head(f) for head, f in zip(self.projectors, features, strict=True))
        return two_view_nce(first, second, self.temperature, near_in_time(batch, self.margin))
