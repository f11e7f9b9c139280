"""DeepCluster: clusters of the features are the classes that the features shall tell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from lifelong_rl.learning.parameters import forget_moments
from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.clustering import kmeans
from lifelong_rl.vision.encoder import encode
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives.base import SelfSupervised


@OBJECTIVES.register("deepcluster")
class DeepCluster(SelfSupervised):
    """DeepCluster: classify frames by clusters of their features, which are found anew at times.

    Features are whitened and normalised before they are clustered, all clusters weigh the same, and
    with new clusters the classifier starts afresh.

    Args:
        frames: To train on.
        augmentation: How images are changed when they are classified.

    References:
        Caron et al. 2018, Deep clustering for unsupervised learning of visual features.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of DeepCluster.

        Attributes:
            clusters: How many; at most a tenth of the frames (untuned; 10 000 in Caron et al.
                2018).
            components: Principal components that are clustered (untuned; 256 in Caron et al. 2018).
            refresh: Steps from one clustering to the next (untuned; an epoch in Caron et al. 2018).
        """

        clusters: Count = 100
        components: Count = 32
        refresh: Count = 250

    options: Options

    knows_frames = True
    assignment: Tensor
    weight: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        super().__init__(frames, augmentation, options, **given)
        components = self.options.components
        if components > self.dim:
            raise ValueError(f"{self.dim} features have fewer than {components} components")
        self.clusters = max(min(self.options.clusters, self.num_frames // 10), 1)
        self.steps = 0
        self.head = nn.Linear(self.dim, self.clusters)
        self.register_buffer("assignment", torch.zeros(self.num_frames).long())
        self.register_buffer("weight", torch.ones(self.clusters))
        self._images = torch.from_numpy(frames.images[:, 0])
        self.recluster()

    def collapse_value(self, n: int) -> float:
        """The logarithm of the number of clusters."""
        return math.log(int((self.weight > 0).sum()))

    def loss(self, batch: Batch) -> Tensor:
        """Weighted cross-entropy of the clusters."""
        logits = self.head(self.encoder(self.augmentation.views(batch["images"])))
        return F.cross_entropy(logits, self.assignment[batch["index"]], self.weight)

    def after_step(self, optimizer: Optimizer) -> None:
        """Now and then, find new clusters, and begin a new classifier."""
        self.steps += 1
        if self.steps % self.options.refresh == 0:
            self.recluster()
            self.head.reset_parameters()
            forget_moments(optimizer, self.head.parameters())

    def recluster(self) -> None:
        """Cluster the features of all frames."""
        points = whiten(encode(self.encoder, self._images), self.options.components)
        self.assignment.copy_(kmeans(F.normalize(points, dim=1), self.clusters).assignment)
        counts = torch.bincount(self.assignment, minlength=self.clusters)
        self.weight.copy_(torch.where(counts > 0, self.num_frames / counts.clamp(min=1), 0))


def whiten(features: Tensor, components: int) -> Tensor:
    """The first principal components of features (n, d), each with variance 1; (n, components).

    Components without variance stay 0.
    """
    centred = (features - features.mean(dim=0)).cpu().double()  # not every device has float64
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    values, vectors = values[-components:], vectors[:, -components:]
    scale = torch.where(values > 1e-9 * values.max(), values, torch.inf).rsqrt()
    whitened: Tensor = centred @ vectors * scale
    return whitened.to(features)
