"""Projections of gradients, on flat vectors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from lifelong_rl.learning.protocols import ParamDict


def project_agem(gradient: Tensor, reference: Tensor) -> Tensor:
    """The nearest vector to `gradient` that does not point against `reference`.

    g − min(0, g·r) / (r·r) r (Chaudhry et al. 2019, eq. 11): to first order a step along it does
    not increase the loss whose gradient is r. Without conflict g comes back as it is.

    Args:
        gradient: g, (p,).
        reference: r, (p,).

    Returns:
        (p,).
    """
    conflict = torch.dot(gradient, reference).clamp(max=0)
    # If r is zero so is the conflict; the least positive number keeps 0 / 0 away.
    length = torch.dot(reference, reference).clamp(min=torch.finfo(reference.dtype).tiny)
    return torch.addcmul(gradient, reference, conflict / length, value=-1)


def flatten(params: Mapping[str, Tensor]) -> Tensor:
    """All entries one after the other in the dictionary's order, (p,)."""
    return torch.cat([value.reshape(-1) for value in params.values()])


def unflatten(vector: Tensor, like: Mapping[str, Tensor]) -> ParamDict:
    """Undo `flatten`: views of `vector` (p,) with the names, order and shapes of `like`."""
    parts = torch.split(vector, [value.numel() for value in like.values()])
    return {
        name: part.view(value.shape)
        for (name, value), part in zip(like.items(), parts, strict=True)
    }
