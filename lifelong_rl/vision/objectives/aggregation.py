"""From instance discrimination to neighbours in the bank: what two objectives have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Whole
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.losses import aggregation
from lifelong_rl.vision.objectives.instdisc import InstanceDiscrimination


class Aggregation(InstanceDiscrimination):
    """Base of the objectives that draw a frame to others of the bank, once the bank has settled.

    A subclass says who is drawn to whom (`neighbours`), what the loss is after the warm-up
    (`aggregated`), and what is brought up to date now and then (`refresh_neighbours`).

    Args:
        frames: To train on.
        augmentation: How an image is changed each time it is seen.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(InstanceDiscrimination.Options):
        """Options of these objectives.

        Attributes:
            warmup: Steps of instance discrimination before anything else.
            refresh: Steps from one call of `refresh_neighbours` to the next.
        """

        warmup: Whole
        refresh: Count

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
        self.steps = 0
        self._collapse = math.log(self.num_frames)

    def collapse_value(self, n: int) -> float:
        """That of the last batch, whose neighbours it depends on; log of all frames at first."""
        return self._collapse

    def loss(self, batch: Batch) -> Tensor:
        """Instance discrimination in the warm-up, then what the subclass makes of neighbours."""
        embeddings = self.embed(batch)
        if self.steps < self.options.warmup:
            return self.discriminate(embeddings, batch)
        similarity = F.normalize(embeddings, dim=1) @ self.bank.vectors.T
        rows, close, background = self.neighbours(similarity.detach(), batch)
        drawn = aggregation(similarity.gather(1, rows), close, background, self.options.temperature)
        sizes = background.sum(dim=1) / (close & background).sum(dim=1)
        loss, self._collapse = self.aggregated(drawn, float(sizes.log().mean()), embeddings, batch)
        return loss

    def neighbours(self, similarity: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Who is drawn to each frame of a batch, out of whom.

        Args:
            similarity: Of the batch with all frames, (n, frames).
            batch: The frames.

        Returns:
            Rows of frames, (n, k); which of them are close; and which are in the background, as the
            others only stand there for nothing. Both (n, k) bool.
        """
        raise NotImplementedError

    def aggregated(
        self, drawn: Tensor, collapse: float, embeddings: Tensor, batch: Batch
    ) -> tuple[Tensor, float]:
        """The loss after the warm-up and its value at collapse.

        Args:
            drawn: The loss of `lifelong_rl.vision.losses.aggregation`.
            collapse: Its value at collapse.
            embeddings: Of the batch.
            batch: The frames.
        """
        return drawn, collapse

    def refresh_neighbours(self) -> None:
        """Bring up to date what `neighbours` asks, from the bank."""
        raise NotImplementedError

    def after_step(self, optimizer: Optimizer) -> None:
        """Bring the bank up to date, and now and then what is known of neighbours."""
        super().after_step(optimizer)
        self.steps += 1
        if (
            self.steps >= self.options.warmup
            and (self.steps - self.options.warmup) % self.options.refresh == 0
        ):
            self.refresh_neighbours()
