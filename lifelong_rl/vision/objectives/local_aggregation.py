"""Local aggregation: a frame is drawn to those of its cluster, out of its neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.clustering import kmeans
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives.aggregation import Aggregation


@OBJECTIVES.register("local-aggregation")
class LocalAggregation(Aggregation):
    """Local aggregation: draw each frame to the frames of its clusters that are near it.

    The background of a frame are the rows of the bank nearest to it, its close neighbours those of
    them that share a cluster with it in one of several clusterings. It begins with instance
    discrimination, as in the paper.

    Args:
        frames: To train on.
        augmentation: How an image is changed each time it is seen.

    References:
        Zhuang et al. 2019, Local aggregation for unsupervised learning of visual embeddings.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Aggregation.Options):
        """Options of LocalAggregation.

        Attributes:
            clusters: Of each clustering; at most a tenth of the frames (untuned; 30 000 in the
                implementation of Zhuang et al. 2019).
            clusterings: How many (Zhuang et al. 2019, in their implementation for AlexNet).
            background: How many neighbours the background has; at most half of the frames
                (untuned).
            warmup: Steps of instance discrimination before the first clustering (untuned).
            refresh: Steps from one clustering to the next (untuned).
        """

        clusters: Count = 200
        clusterings: Count = 3
        background: Count = 512
        warmup: Whole = 250
        refresh: Count = 250

    options: Options

    assignments: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        super().__init__(frames, augmentation, options, **given)
        self.clusters = max(min(self.options.clusters, self.num_frames // 10), 1)
        self.background = max(min(self.options.background, self.num_frames // 2), 1)
        assignments = torch.zeros(self.options.clusterings, self.num_frames, dtype=torch.int32)
        self.register_buffer("assignments", assignments)

    def neighbours(self, similarity: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Those nearest to each frame, and the frame itself; close if they share a cluster."""
        index = batch["index"].unsqueeze(1)
        rows = torch.cat([similarity.topk(self.background, dim=1).indices, index], dim=1)
        close = (self.assignments[:, rows] == self.assignments[:, index]).any(dim=0)
        background = close | ~self.too_close_to(batch).gather(1, rows)
        background[:, :-1] &= rows[:, :-1] != index  # the frame itself only once
        return rows, close, background

    def refresh_neighbours(self) -> None:
        """Cluster the bank anew."""
        for assignment in self.assignments:
            assignment.copy_(kmeans(self.bank.vectors, self.clusters).assignment)
