"""Pure measures of weight matrices."""

from __future__ import annotations

import torch
from torch import Tensor


def weight_magnitude(weight: Tensor) -> float:
    """Mean magnitude of a layer's weights.

    Args:
        weight: Of any shape.

    References:
        Dohare et al. 2024, Loss of plasticity in deep continual learning.
    """
    return float(weight.abs().mean())


def stable_rank(weight: Tensor) -> float:
    """‖W‖_F² / ‖W‖₂²: how many directions a layer passes on about as strongly as its strongest.

    The mean over copies of (Σ σ_i²) / σ_1², with σ the singular values of W; 0 where W is zero. It
    is at most the rank, and moves little where single weights do.

    Args:
        weight: W of each copy, (copies, out, in).

    References:
        Rudelson & Vershynin 2007, Sampling from large matrices: an approach through geometric
        functional analysis, section 1.
    """
    wide = weight.shape[1] < weight.shape[2]
    gram = torch.bmm(weight, weight.mT) if wide else torch.bmm(weight.mT, weight)
    squares = torch.linalg.eigvalsh(gram)
    return float((squares.sum(dim=1) / squares[:, -1].clamp(min=1e-30)).mean())
