"""Instance discrimination: every frame is a class of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Positive, ShareBelowOne, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.encoder import encode
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.losses import instance_discrimination
from lifelong_rl.vision.memories import MemoryBank
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.sampling import Timeline


@OBJECTIVES.register("instdisc")
class InstanceDiscrimination(SelfSupervised):
    """Instance discrimination: tell each frame from all others by a bank of their embeddings.

    The softmax over the bank is computed in full; 10⁴ frames are few enough for it. The bank starts
    with what the untrained encoder makes of the frames, because at random it would take epochs to
    forget.

    Args:
        frames: To train on.
        augmentation: How an image is changed each time it is seen.

    References:
        Wu et al. 2018, Unsupervised feature learning via non-parametric instance discrimination.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of InstanceDiscrimination.

        Attributes:
            temperature: τ of the softmax (Wu et al. 2018).
            bank_momentum: Share of a frame's old embedding in its new one (Wu et al. 2018, in their
                implementation).
            projection: Size of an embedding (Wu et al. 2018).
            margin: Frames of one episode that are less apart are no negatives of each other
                (untuned).
        """

        temperature: Positive = 0.07
        bank_momentum: ShareBelowOne = 0.5
        projection: Count = 128
        margin: Whole = 5

    options: Options

    knows_frames = True
    near: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        super().__init__(frames, augmentation, options, **given)
        self.head = mlp(self.dim, self.options.projection)
        with torch.no_grad():
            start = self.head(encode(self.encoder, torch.from_numpy(frames.images[:, 0])))
        self.bank = MemoryBank(start, self.options.bank_momentum)
        near = Timeline(frames.episodes, frames.steps).near(max(self.options.margin, 1))
        self.register_buffer("near", torch.from_numpy(near), persistent=False)
        self._made: tuple[Tensor, Tensor] | None = None

    def collapse_value(self, n: int) -> float:
        """The logarithm of the number of frames."""
        return math.log(self.num_frames)

    def loss(self, batch: Batch) -> Tensor:
        """The non-parametric softmax."""
        embeddings = self.embed(batch)
        return self.discriminate(embeddings, batch)

    def embed(self, batch: Batch) -> Tensor:
        """The embeddings of a batch, which the bank will take in."""
        embeddings: Tensor = self.head(self.encoder(self.augmentation.views(batch["images"])))
        self._made = batch["index"], embeddings.detach()
        return embeddings

    def discriminate(self, embeddings: Tensor, batch: Batch) -> Tensor:
        """The loss of instance discrimination."""
        vectors, index = self.bank.vectors, batch["index"]
        excluded = self.too_close_to(batch)
        return instance_discrimination(
            embeddings, vectors, index, self.options.temperature, excluded
        )

    def too_close_to(self, batch: Batch) -> Tensor:
        """Which of all frames are no negatives of the batch's, themselves too, (n, frames) bool."""
        index = batch["index"]
        mask = torch.zeros(len(index), self.num_frames, dtype=torch.bool, device=index.device)
        return mask.scatter_(1, self.near[index], True)

    def after_step(self, optimizer: Optimizer) -> None:
        """Bring the bank up to date."""
        assert self._made is not None
        self.bank.update(*self._made)
