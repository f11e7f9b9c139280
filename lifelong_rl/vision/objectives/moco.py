"""MoCo: two views of a frame are alike, and unlike a queue of earlier frames."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.compatibility import Trait
from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Positive, Share, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import SlowNetwork, mlp
from lifelong_rl.vision.losses import info_nce
from lifelong_rl.vision.memories import Queue
from lifelong_rl.vision.objectives.base import SelfSupervised, near_in_time
from lifelong_rl.vision.sampling import too_close

TEMPERATURE = {1: 0.07, 2: 0.2}
"""Of each version."""


@OBJECTIVES.register("moco")
class MoCo(SelfSupervised):
    """MoCo: tell the other view of a frame from a queue of keys; a slow encoder makes the keys.

    Args:
        frames: To train on.
        augmentation: How the two views differ.

    References:
        He et al. 2020, Momentum contrast for unsupervised visual representation learning.
        Chen et al. 2020, Improved baselines with momentum contrastive learning.
    """

    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses", "comparison")

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of MoCo.

        Attributes:
            version: 1 has a linear head, 2 one with a hidden layer and a higher temperature (Chen
                et al. 2020).
            temperature: τ of the loss; by default the version's, 0.07 or 0.2 (He et al. 2020, Chen
                et al. 2020).
            momentum: m, by which the slow encoder follows (untuned, for few steps; 0.999 in He et
                al. 2020).
            queue: Number of keys (untuned; 65 536 in He et al. 2020).
            projection: Units of the head's layers (He et al. 2020).
            margin: Frames of one episode that are less apart are no negatives of each other
                (untuned).
        """

        version: Literal[1, 2] = 2
        temperature: Positive | None = None
        momentum: Share = 0.99
        queue: Count = 4096
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
        version, projection = self.options.version, self.options.projection
        given_temperature = self.options.temperature
        self.temperature = TEMPERATURE[version] if given_temperature is None else given_temperature
        widths = (self.dim, projection) if version == 1 else (self.dim, projection, projection)
        self.head = mlp(*widths)
        self.queue = Queue(self.options.queue, projection)
        self.slow = SlowNetwork(self.network, self.options.momentum)
        self._made: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def network(self) -> nn.Sequential:
        """What makes the queries."""
        return nn.Sequential(self.encoder, self.head)

    def collapse_value(self, n: int) -> float:
        """log(queue + 1)."""
        return math.log(len(self.queue.keys) + 1)

    def loss(self, batch: Batch) -> Tensor:
        """Contrast queries with keys and with the queue."""
        one, other = self.augmentation.views(batch["images"], copies=2, aligned=False).chunk(2)
        keys = self.slow(other)
        moment = batch["episode"], batch["position"]
        self._made = keys, *moment
        excluded = too_close(
            *moment, self.queue.episodes, self.queue.positions, self.options.margin
        )
        negatives = self.queue.keys
        return info_nce(self.network(one), keys, negatives, self.temperature, excluded)

    def contrast(self, first: Tensor, second: Tensor, batch: Batch) -> Tensor:
        """Contrast the first with the second, and with the second of the other rows for a queue."""
        excluded = near_in_time(batch, max(self.options.margin, 1))  # the row itself
        return info_nce(first, second, second, self.temperature, excluded)

    def after_step(self, optimizer: Optimizer) -> None:
        """Let the slow encoder follow, and the batch's keys into the queue."""
        assert self._made is not None
        self.slow.follow(self.network)
        self.queue.push(*self._made)
