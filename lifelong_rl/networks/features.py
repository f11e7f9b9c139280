"""What the hidden layers of a network do: its features, and pure measures of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lifelong_rl.networks import MultiHeadMLP


@contextmanager
def recorded_features(module: nn.Module) -> Iterator[list[Tensor]]:
    """Record the activations of a network's hidden layers while it is evaluated.

    Where a method gives each task a column, those of the last column that is evaluated are kept.

    Yields:
        A list that holds, after one evaluation, (copies, n, units) for each hidden layer; it stays
        empty for a network that is not made of `MultiHeadMLP`s.
    """
    found: list[Tensor] = []
    columns = [part for part in module.modules() if isinstance(part, MultiHeadMLP)]
    handles = []
    for column in columns:
        for depth, layer in enumerate([*column.hidden[1:], column.heads]):

            def keep(_: nn.Module, inputs: tuple[Any, ...], depth: int = depth) -> None:
                del found[depth:]  # an earlier column's, or an earlier evaluation's
                found.append(inputs[0].detach())

            handles.append(layer.register_forward_pre_hook(keep))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluated_networks(module: nn.Module) -> Iterator[list[MultiHeadMLP]]:
    """Record which `MultiHeadMLP`s of a network are evaluated.

    Yields:
        A list of them in the order in which their heads are: the last is the one whose features
        `recorded_features` keeps.
    """
    found: list[MultiHeadMLP] = []
    handles = [
        part.heads.register_forward_pre_hook(lambda *_, part=part: found.append(part))
        for part in module.modules()
        if isinstance(part, MultiHeadMLP)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def dormant_units(features: Tensor, threshold: float = 0.025) -> Tensor:
    """The units that hardly do anything, beside the others of their layer.

    A unit is dormant if the mean magnitude of its activations over rows is at most `threshold`
    times the mean over all units of its layer.

    Args:
        features: Activations h, (copies, n, units).
        threshold: τ.

    Returns:
        (copies, units) of bool.

    References:
        Sokar et al. 2023, The dormant neuron phenomenon in deep reinforcement learning,
        definition 3.1.
    """
    score = features.abs().mean(dim=1)
    return score <= threshold * score.mean(dim=1, keepdim=True)


def dormant_share(features: Tensor, threshold: float = 0.025) -> float:
    """The share of units that are dormant; see `dormant_units`."""
    return float(dormant_units(features, threshold).float().mean())


def srank(features: Tensor, delta: float = 0.01) -> float:
    """How many dimensions hold all but a share `delta` of the sum of singular values.

    The mean over copies of srank(Φ) = min{k : Σ_{i≤k} σ_i ≥ (1 − δ) Σ_i σ_i}.

    Args:
        features: Φ of each copy, (copies, n, units).
        delta: δ.

    References:
        Kumar et al. 2021, Implicit under-parameterization inhibits data-efficient deep
        reinforcement learning, section 3.
    """
    return float(srank_of(torch.linalg.svdvals(features), delta).mean())


def srank_of(values: Tensor, delta: float = 0.01) -> Tensor:
    """The srank of matrices whose singular values are known, (matrices,).

    Args:
        values: Of each, descending, (matrices, k).
        delta: See `srank`.
    """
    share = values.cumsum(dim=1) / values.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return (1 + (share < 1 - delta).sum(dim=1)).float()
