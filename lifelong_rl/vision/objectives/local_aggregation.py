"""Local aggregation: a frame is drawn to those of its cluster, out of its neighbourhood."""

from __future__ import annotations

import torch
from torch import Tensor

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.clustering import kmeans
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives.aggregation import Aggregation
from lifelong_rl.vision.objectives.base import check_options


@OBJECTIVES.register("local-aggregation")
class LocalAggregation(Aggregation):
    """Local aggregation: draw each frame to the frames of its clusters that are near it.

    The background of a frame are the rows of the bank nearest to it, its close neighbours those of
    them that share a cluster with it in one of several clusterings. It begins with instance
    discrimination, as in the paper.

    Args:
        frames: To train on.
        augmentation: How an image is changed each time it is seen.
        clusters: Of each clustering; at most a tenth of the frames.
        clusterings: How many.
        background: How many neighbours the background has; at most half of the frames.
        warmup: Steps of instance discrimination before the first clustering.
        refresh: Steps from one clustering to the next.
        temperature: τ of the softmax.
        bank_momentum: Share of a frame's old embedding in its new one.
        projection: Size of an embedding.
        margin: Frames of one episode that are less apart are no negatives of each other.

    Raises:
        ValueError: An option outside its range.

    References:
        Zhuang et al. 2019, Local aggregation for unsupervised learning of visual embeddings.
    """

    assignments: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        /,
        *,
        clusters: int = 200,
        clusterings: int = 3,
        background: int = 512,
        warmup: int = 250,
        refresh: int = 250,
        temperature: float = 0.07,
        bank_momentum: float = 0.5,
        projection: int = 128,
        margin: int = 5,
    ) -> None:
        super().__init__(
            frames,
            augmentation,
            warmup=warmup,
            refresh=refresh,
            temperature=temperature,
            bank_momentum=bank_momentum,
            projection=projection,
            margin=margin,
        )
        check_options(clusters=clusters, clusterings=clusterings, background=background)
        self.clusters = max(min(clusters, self.num_frames // 10), 1)
        self.background = max(min(background, self.num_frames // 2), 1)
        self.register_buffer(
            "assignments", torch.zeros(clusterings, self.num_frames, dtype=torch.int32)
        )

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
