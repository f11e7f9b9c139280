"""The same encoder, trained on the labels: what can at best be read off the pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.vision.augment import Augmentation, jitter
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives.base import SelfSupervised
from lifelong_rl.vision.probe import UNITS


class Supervised(SelfSupervised):
    """Regression of all probed labels from the features, linearly.

    Images are neither shifted nor painted over, because what is where is to be told.

    Args:
        frames: To train on.
        augmentation: How brightness and contrast are changed.
    """

    targets: Tensor

    def __init__(self, frames: Frames, augmentation: Augmentation, /) -> None:
        super().__init__(frames, augmentation)
        labels = [frames.labels[name] for name in UNITS if name in frames.labels]
        values = np.concatenate(labels, axis=1)
        scale = np.nanstd(values, axis=0)
        standard = (values - np.nanmean(values, axis=0)) / np.where(scale > 0, scale, 1)
        self.register_buffer("targets", torch.from_numpy(standard.astype(np.float32)))
        self.head = nn.Linear(self.dim, values.shape[1])

    def collapse_value(self, n: int) -> float:
        """The variance of the standardised labels."""
        return 1.0

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error over the labels that are known."""
        targets = self.targets[batch["index"]]
        known = targets.isfinite()
        brightness, contrast = self.augmentation.brightness, self.augmentation.contrast
        images = jitter(batch["images"].squeeze(1), brightness, contrast)
        predicted = self.head(self.encoder(images))
        return F.mse_loss(predicted[known], targets[known])
