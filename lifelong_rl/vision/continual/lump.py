"""LUMP: frames of the current task, mixed with frames of old ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Beta

from lifelong_rl.continual.memory import MemoryMethod
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.options import Count, Positive, Scope
from lifelong_rl.registry import ENCODER_METHODS


@ENCODER_METHODS.register("lump")
class LUMP(MemoryMethod):
    """Lifelong unsupervised mixup: learn from images between the current task and the memory.

    Every image of a batch is mixed with one of the memory, all in the same proportion λ, which is
    drawn for each batch from a Beta(α, α) distribution; clips are mixed frame by frame. A row still
    counts as a moment of the current task. The paper's memory also takes in the current task while
    it is learned; this one holds tasks that have ended.

    References:
        Madaan et al. 2022, Representational continuity for unsupervised continual learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(MemoryMethod.Options):
        """Options of LUMP.

        Attributes:
            per_task: Frames (or clips) kept of each task: a reservoir (untuned; 256 for all tasks
                in the implementation of Madaan et al. 2022).
            alpha: α; the smaller, the more often an image is nearly one of the two (Madaan et al.
                2022, in their implementation).
        """

        per_task: Count = 256
        alpha: Positive = 0.4
        scope: Scope = field(default="both", init=False)

    options: Options

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """Mix the images with others of the memory, if it has any."""
        if not self.memory.num_tasks:
            return batch
        images = batch["images"]
        share = float(Beta(self.options.alpha, self.options.alpha).sample())
        return {**batch, "images": mix(images, self.memory.sample(len(images))["images"], share)}


def mix(current: Tensor, old: Tensor, share: float) -> Tensor:
    """λ x + (1 − λ) x′ for images of uint8, rounded.

    Args:
        current: x.
        old: x′, of the same shape.
        share: λ in [0, 1].
    """
    return torch.lerp(old.float(), current.float(), share).round_().to(torch.uint8)
