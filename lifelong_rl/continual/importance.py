"""Gradients of what a component predicts for single rows, and how much each parameter matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import grad, vmap

from lifelong_rl.continual.distributions import outputs
from lifelong_rl.continual.functional import call_with
from lifelong_rl.learning.protocols import Batch, Component, ParamDict


def fisher_diagonal(component: Component, batch: Batch, *, chunk_size: int = 128) -> ParamDict:
    """Diagonal of the Fisher information of a component's predictions.

    F = E_x E_{y ~ p(y|x, θ)} [(∂ log p(y|x, θ) / ∂θ)²], the mean over the rows x of `batch` with
    one y drawn from the prediction for each. These are y of the model, not of the data, and
    squares of the gradients of single rows, not of minibatch means: anything else is not the
    Fisher information (Kunstner et al. 2019) and depends on the batch size.

    Args:
        component: Predicts; all parameters of its module are measured, frozen ones too.
        batch: Rows to average over, (n, ...).
        chunk_size: Rows whose gradients are held in memory at once; does not change the result.

    Returns:
        Non-negative values in the parameters' shapes.

    References:
        Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks.
        Kunstner et al. 2019, Limitations of the empirical Fisher approximation.
    """
    chunks = log_likelihood_gradients(component, batch, chunk_size=chunk_size)
    return _mean_over_rows(chunks, torch.square)


def mas_importance(component: Component, batch: Batch, *, chunk_size: int = 128) -> ParamDict:
    """How strongly each parameter moves the squared length of a component's output.

    Ω = E_x |∂ ‖f(x, θ)‖² / ∂θ|, the mean over the rows x of `batch` of the magnitudes for single
    rows (Aljundi et al. 2018, eq. 2 with the squared norm of section 4.1). No labels take part.

    Args:
        component: Predicts; all parameters of its module are measured, frozen ones too. Its f is
            `distributions.outputs`: means and log standard deviations, or log probabilities.
        batch: Rows to average over, (n, ...).
        chunk_size: Rows whose gradients are held in memory at once; does not change the result.

    Returns:
        Non-negative values in the parameters' shapes.

    References:
        Aljundi et al. 2018, Memory aware synapses: learning what (not) to forget.
    """

    def squared_length(row: Batch) -> Tensor:
        return outputs(component.predict(row)).square().sum()

    chunks = row_gradients(component, squared_length, batch, chunk_size=chunk_size)
    return _mean_over_rows(chunks, torch.abs)


def log_likelihood_gradients(
    component: Component, batch: Batch, *, chunk_size: int = 128
) -> Iterator[ParamDict]:
    """∂ log p(y|x, θ) / ∂θ for each row x, with y drawn from the prediction.

    Args:
        component: See `row_gradients`.
        batch: Rows, (n, ...).
        chunk_size: See `row_gradients`.

    Yields:
        As `row_gradients`.
    """

    def log_likelihood(row: Batch, label: Tensor) -> Tensor:
        return component.predict(row).log_prob(label).sum()

    with torch.no_grad():
        labels = component.predict(batch).sample()
    yield from row_gradients(component, log_likelihood, batch, labels, chunk_size=chunk_size)


def row_gradients(
    component: Component,
    function: Callable[..., Tensor],
    batch: Batch,
    *others: Tensor,
    chunk_size: int = 128,
) -> Iterator[ParamDict]:
    """Gradients of a scalar function of single rows.

    Args:
        component: What `function` uses; all parameters of its module, frozen ones too.
        function: Called with one row as a batch, (1, ...), and that row of `others`, (1, ...).
        batch: Rows, (n, ...).
        *others: What goes with each row, (n, ...).
        chunk_size: Rows whose gradients are held in memory at once.

    Yields:
        For chunk after chunk, by parameter the gradients (rows, *shape).
    """
    parameters = {name: p.detach() for name, p in component.module.named_parameters()}

    def of_one_row(values: ParamDict, row: Batch, *other: Tensor) -> Tensor:
        one_row = {key: value.unsqueeze(0) for key, value in row.items()}
        return call_with(component, values, function, one_row, *(o.unsqueeze(0) for o in other))

    in_dims = (None, *(0 for _ in (batch, *others)))
    of_rows = vmap(grad(of_one_row), in_dims=in_dims, randomness="different")
    for first in range(0, len(next(iter(batch.values()))), chunk_size):
        rows = slice(first, first + chunk_size)
        chunk = {key: value[rows] for key, value in batch.items()}
        yield of_rows(parameters, chunk, *(other[rows] for other in others))


def _mean_over_rows(chunks: Iterator[ParamDict], measure: Callable[[Tensor], Tensor]) -> ParamDict:
    total: ParamDict = {}
    count = 0
    for chunk in chunks:
        count += len(next(iter(chunk.values())))
        for name, gradient in chunk.items():
            summed = measure(gradient).sum(dim=0)
            total[name] = total[name] + summed if name in total else summed
    return {name: value / count for name, value in total.items()}
