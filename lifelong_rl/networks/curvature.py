"""How strongly, and in how many directions, a network's predictions depend on its parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lifelong_rl.networks.mlp import MultiHeadMLP


class Call(NamedTuple):
    """One evaluation of a linear layer.

    Attributes:
        layer: The layer.
        inputs: What it read, (copies, n, in), without a graph.
        outputs: What it made of that, (copies, n, out), with its graph.
    """

    layer: nn.Module
    inputs: Tensor
    outputs: Tensor


@contextmanager
def recorded_calls(module: nn.Module) -> Iterator[list[Call]]:
    """Record how a network's linear layers are evaluated, those that are learned.

    Yields:
        A list that grows with each evaluation; it stays empty for a network that is not made of
        `MultiHeadMLP`s.
    """
    found: list[Call] = []

    def keep(layer: nn.Module, inputs: tuple[Any, ...], outputs: Tensor) -> None:
        if outputs.requires_grad and layer.weight.requires_grad:
            rows = inputs[0].detach().expand(outputs.shape[0], -1, -1)
            found.append(Call(layer, rows, outputs))

    handles = [
        layer.register_forward_hook(keep)
        for column in module.modules()
        if isinstance(column, MultiHeadMLP)
        for layer in (*column.hidden, column.heads)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def gradient_products(calls: Sequence[Call], total: Tensor) -> Tensor:
    """Inner products ⟨g_i, g_j⟩ of the gradients of single rows, (n, n).

    The gradients of each row are those by the weights and biases of the layers that were called;
    LayerNorm's scales are left out. They are not formed: by a layer's weights a row's gradient is
    δ_i a_iᵀ, so that the product of two rows' is (δ_i · δ_j)(a_i · a_j), and δ_i · δ_j by its bias.

    Args:
        calls: At least one, of n rows each, that do not mix with one another.
        total: The sum over rows of what is differentiated, a scalar.
    """
    slopes = torch.autograd.grad(total, [call.outputs for call in calls], allow_unused=True)
    by_layer: dict[nn.Module, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for call, slope in zip(calls, slopes, strict=True):
        if slope is not None:
            by_layer[call.layer].append((call.inputs, slope))
    n = calls[0].inputs.shape[1]
    products = calls[0].inputs.new_zeros(n, n)
    for seen in by_layer.values():
        for (inputs, slope), (others, slopes_of_others) in product(seen, seen):
            between = torch.bmm(inputs, others.mT) + 1
            products += (torch.bmm(slope, slopes_of_others.mT) * between).sum(dim=0)
    return products


def spectrum(products: Tensor) -> Tensor:
    """The eigenvalues of F = (1/n) Σ_i g_i g_iᵀ that are not zero anyway, descending, (n,).

    They are those of the inner products of the gradients, divided by n.

    Args:
        products: ⟨g_i, g_j⟩, (n, n), see `gradient_products`.
    """
    values: Tensor = torch.linalg.eigvalsh(products / products.shape[0])
    return values.flip(0).clamp(min=0)
