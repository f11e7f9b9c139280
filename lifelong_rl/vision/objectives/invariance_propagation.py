"""Invariance propagation: a frame is drawn to the neighbours of its neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.options import Count, Positive, Whole
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives.aggregation import Aggregation


@OBJECTIVES.register("invariance-propagation")
class InvariancePropagation(Aggregation):
    """Invariance propagation: draw each frame to those reached by steps between near neighbours.

    Of the frames that are reached the least similar are the positives; the negatives are the most
    similar of the others. This is added to instance discrimination once the bank has settled.

    Args:
        frames: To train on.
        augmentation: How an image is changed each time it is seen.

    References:
        Wang et al. 2020, Unsupervised representation learning by invariance propagation.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Aggregation.Options):
        """Options of InvariancePropagation.

        Attributes:
            neighbours: To how many nearest neighbours a step may go (Wang et al. 2020, in their
                implementation).
            hops: Number of steps (Wang et al. 2020, in their implementation).
            positives: How many of the frames reached, the least similar, are drawn near (untuned;
                50 in the implementation of Wang et al. 2020).
            negatives: How many of the others, the most similar, are pushed away (untuned; 4096 in
                the implementation of Wang et al. 2020).
            weight: Of this loss, beside that of instance discrimination (Wang et al. 2020, in their
                implementation).
            warmup: Steps of instance discrimination alone (untuned).
            refresh: Steps from one search for neighbours to the next (untuned).
        """

        neighbours: Count = 4
        hops: Count = 3
        positives: Count = 16
        negatives: Count = 512
        weight: Positive = 0.6
        warmup: Whole = 250
        refresh: Count = 250

    options: Options

    graph: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        super().__init__(frames, augmentation, options, **given)
        neighbours = self.options.neighbours
        if neighbours >= self.num_frames:
            raise ValueError(f"{self.num_frames} frames have fewer than {neighbours} neighbours")
        self.positives = min(self.options.positives, self.num_frames)
        self.negatives = min(self.options.negatives, self.num_frames)
        self.register_buffer("graph", torch.zeros(self.num_frames, neighbours).long())

    def neighbours(self, similarity: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Hard positives, which are close, and hard negatives."""
        reached = propagate(self.graph, batch["index"], self.options.hops)
        others = ~(reached | self.too_close_to(batch))
        farthest = similarity.masked_fill(~reached, torch.inf)
        positives = farthest.topk(self.positives, dim=1, largest=False).indices
        nearest = similarity.masked_fill(~others, -torch.inf)
        negatives = nearest.topk(self.negatives, dim=1).indices
        rows = torch.cat([positives, negatives], dim=1)
        near, far = reached.gather(1, positives), others.gather(1, negatives)
        close = torch.cat([near, torch.zeros_like(far)], dim=1)
        return rows, close, torch.cat([near, far], dim=1)

    def aggregated(
        self, drawn: Tensor, collapse: float, embeddings: Tensor, batch: Batch
    ) -> tuple[Tensor, float]:
        """Instance discrimination and the contrast of hard samples."""
        loss = self.discriminate(embeddings, batch) + self.options.weight * drawn
        return loss, math.log(self.num_frames) + self.options.weight * collapse

    def refresh_neighbours(self) -> None:
        """Search the bank for neighbours anew."""
        self.graph.copy_(neighbour_graph(self.bank.vectors, self.graph.shape[1]))


def neighbour_graph(vectors: Tensor, k: int, chunk: int = 1024) -> Tensor:
    """The k nearest neighbours of each vector by dot product, itself left out, (n, k) int64."""
    found = []
    for start in range(0, len(vectors), chunk):
        similarity = vectors[start : start + chunk] @ vectors.T
        similarity.diagonal(start).fill_(-torch.inf)
        found.append(similarity.topk(k, dim=1).indices)
    return torch.cat(found)


def propagate(graph: Tensor, index: Tensor, hops: int) -> Tensor:
    """Who is reached from each start by at most so many steps along the graph, without the start.

    Args:
        graph: The neighbours of each node, (m, k).
        index: Starts, (n,).
        hops: Number of steps.

    Returns:
        (n, m) bool.
    """
    reached = torch.zeros(len(index), len(graph), dtype=torch.bool, device=graph.device)
    front = index.unsqueeze(1)
    for _ in range(hops):
        front = graph[front].flatten(1)
        reached.scatter_(1, front, True)
    return reached.scatter_(1, index.unsqueeze(1), False)
