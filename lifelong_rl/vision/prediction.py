"""How well a constant predicts: what an objective that predicts must do better than."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def constant_squared_error(targets: Tensor) -> float:
    """The mean squared error of the best constant for each entry of targets (n, ...)."""
    return float(targets.var(dim=0, correction=0).mean())


def constant_cross_entropy(classes: Tensor, weight: Tensor) -> float:
    """The cross-entropy of the best constant distribution for each place.

    Args:
        classes: Of each sample at each place, (n, places) int64.
        weight: Of each class in the loss, (k,), as `torch.nn.functional.cross_entropy` takes it.
    """
    counts = F.one_hot(classes, len(weight)).sum(dim=0) * weight.double()
    shares = counts / counts.sum(dim=1, keepdim=True)
    entropy = torch.special.entr(shares).sum(dim=1)
    return float((counts.sum(dim=1) * entropy).sum() / counts.sum())
