"""How a representation lies in its space, whatever it was trained for.

What needs float64 is computed on the CPU, wherever the embeddings are.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def alignment(first: Tensor, second: Tensor) -> float:
    """E‖x − y‖² over the two views of each sample, normalised (Wang & Isola 2020, with α = 2).

    0 at best; 2 if the views have nothing to do with each other.

    Args:
        first: A view of each sample, (n, d).
        second: Another view of each, (n, d).
    """
    difference = F.normalize(first, dim=1) - F.normalize(second, dim=1)
    return float(difference.square().sum(dim=1).mean())


def uniformity(embeddings: Tensor) -> float:
    """The logarithm of E e^{−2‖x − y‖²} over pairs, normalised (Wang & Isola 2020, with t = 2).

    0 when all are equal; the lower, the more evenly they cover the sphere (−3.8752 for d = 64).

    Args:
        embeddings: (n, d).
    """
    x = F.normalize(embeddings.cpu().double(), dim=1)
    similarity = x @ x.T
    pairs = torch.triu_indices(len(x), len(x), offset=1)
    squared = (2 - 2 * similarity[pairs[0], pairs[1]]).clamp_(min=0)
    return float((-2 * squared).exp().mean().log())


def effective_rank(embeddings: Tensor) -> float:
    """The exponential of the entropy of the singular values, as shares (Roy & Vetterli 2007).

    1 when all embeddings are equal, d when they are spread evenly over all directions. They are not
    centred (as in RankMe, Garrido et al. 2023).

    Args:
        embeddings: (n, d).
    """
    values = torch.linalg.svdvals(embeddings.cpu().double())
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp())


def nearest(queries: Tensor, keys: Tensor, excluded: Tensor, k: int = 1) -> Tensor:
    """The keys most similar to each query by cosine, most similar first, (n, k) int64.

    Args:
        queries: (n, d).
        keys: (m, d).
        excluded: Which keys a query may not choose, (n, m) bool.
        k: How many; every query may choose as many.
    """
    similarity = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T
    return similarity.masked_fill_(excluded, -torch.inf).topk(k, dim=1).indices
