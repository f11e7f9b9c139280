"""LUMP: frames of the current task, mixed with frames of old ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Beta

from lifelong_rl.continual.memory import MemoryMethod
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.registry import ENCODER_METHODS


@ENCODER_METHODS.register("lump")
class LUMP(MemoryMethod):
    """Lifelong unsupervised mixup: learn from images between the current task and the memory.

    Every image of a batch is mixed with one of the memory, all in the same proportion λ, which is
    drawn for each batch from a Beta(α, α) distribution; clips are mixed frame by frame. A row still
    counts as a moment of the current task. The paper's memory also takes in the current task while
    it is learned; this one holds tasks that have ended.

    Args:
        per_task: Frames (or clips) kept of each task: a reservoir.
        alpha: α; the smaller, the more often an image is nearly one of the two.

    Raises:
        ValueError: No capacity, or an alpha that is not positive.

    References:
        Madaan et al. 2022, Representational continuity for unsupervised continual learning.
    """

    def __init__(self, *, per_task: int = 256, alpha: float = 0.4) -> None:
        super().__init__(per_task=per_task, scope="both")
        if not 0 < alpha < float("inf"):
            raise ValueError(f"alpha must be positive and finite, not {alpha}")
        self.alpha = alpha

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """Mix the images with others of the memory, if it has any."""
        if not self.memory.num_tasks:
            return batch
        images = batch["images"]
        share = float(Beta(self.alpha, self.alpha).sample())
        return {**batch, "images": mix(images, self.memory.sample(len(images))["images"], share)}


def mix(current: Tensor, old: Tensor, share: float) -> Tensor:
    """λ x + (1 − λ) x′ for images of uint8, rounded.

    Args:
        current: x.
        old: x′, of the same shape.
        share: λ in [0, 1].
    """
    return torch.lerp(old.float(), current.float(), share).round_().to(torch.uint8)
