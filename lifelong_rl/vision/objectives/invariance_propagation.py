"""Invariance propagation: a frame is drawn to the neighbours of its neighbours."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives.aggregation import Aggregation
from lifelong_rl.vision.objectives.base import check_options


@OBJECTIVES.register("invariance-propagation")
class InvariancePropagation(Aggregation):
    """Invariance propagation: draw each frame to those reached by steps between near neighbours.

    Of the frames that are reached the least similar are the positives; the negatives are the most
    similar of the others. This is added to instance discrimination once the bank has settled.

    Args:
        frames: To train on.
        augmentation: How an image is changed each time it is seen.
        neighbours: To how many nearest neighbours a step may go.
        hops: Number of steps.
        positives: How many of the frames reached, the least similar, are drawn near.
        negatives: How many of the others, the most similar, are pushed away.
        weight: Of this loss, beside that of instance discrimination.
        warmup: Steps of instance discrimination alone.
        refresh: Steps from one search for neighbours to the next.
        temperature: τ of the softmax.
        bank_momentum: Share of a frame's old embedding in its new one.
        projection: Size of an embedding.
        margin: Frames of one episode that are less apart are no negatives of each other.

    Raises:
        ValueError: An option outside its range.

    References:
        Wang et al. 2020, Unsupervised representation learning by invariance propagation.
    """

    graph: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        /,
        *,
        neighbours: int = 4,
        hops: int = 3,
        positives: int = 16,
        negatives: int = 512,
        weight: float = 0.6,
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
        check_options(
            neighbours=neighbours,
            hops=hops,
            positives=positives,
            negatives=negatives,
            weight=weight,
        )
        if neighbours >= self.num_frames:
            raise ValueError(f"{self.num_frames} frames have fewer than {neighbours} neighbours")
        self.hops, self.weight = hops, weight
        self.positives = min(positives, self.num_frames)
        self.negatives = min(negatives, self.num_frames)
        self.register_buffer("graph", torch.zeros(self.num_frames, neighbours).long())

    def neighbours(self, similarity: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Hard positives, which are close, and hard negatives."""
        reached = propagate(self.graph, batch["index"], self.hops)
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
        loss = self.discriminate(embeddings, batch) + self.weight * drawn
        return loss, math.log(self.num_frames) + self.weight * collapse

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
    reached = torch.zeros(len(index), len(graph), dtype=torch.bool)
    front = index.unsqueeze(1)
    for _ in range(hops):
        front = graph[front].flatten(1)
        reached.scatter_(1, front, True)
    return reached.scatter_(1, index.unsqueeze(1), False)
