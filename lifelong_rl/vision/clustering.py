"""Clusters of vectors by k-means."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Clusters(NamedTuple):
    """What k-means has found: centres (k, d) and each point's cluster (n,) int64."""

    centres: Tensor
    assignment: Tensor


def assign(points: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each point, (n,) int64."""
    return (points @ centres.T).mul_(-2).add_(centres.square().sum(dim=1)).argmin(dim=1)


def kmeans(points: Tensor, k: int, iterations: int = 10) -> Clusters:
    """Lloyd's algorithm from random points; a cluster that loses all its points starts elsewhere.

    Draws from torch's global generator.

    Args:
        points: (n, d).
        k: Number of clusters.
        iterations: At most so many; fewer when nothing changes.

    Raises:
        ValueError: There are fewer points than clusters, or no cluster is asked for.
    """
    n = len(points)
    if not 1 <= k <= n:
        raise ValueError(f"{n} points cannot be divided into {k} clusters")
    centres = points[torch.randperm(n, device=points.device)[:k]]
    assignment = assign(points, centres)
    for _ in range(iterations):
        counts = torch.bincount(assignment, minlength=k)
        sums = torch.zeros_like(centres).index_add_(0, assignment, points)
        centres = sums / counts.clamp(min=1).unsqueeze(1)
        empty = counts == 0
        if empty.any():
            drawn = torch.randint(n, (int(empty.sum()),), device=points.device)
            centres[empty] = points[drawn]
        found = assign(points, centres)
        if torch.equal(found, assignment):
            break
        assignment = found
    return Clusters(centres, assignment)
