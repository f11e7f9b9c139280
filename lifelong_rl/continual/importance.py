"""How much each parameter matters to what a component predicts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad, vmap

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
    parameters = {name: p.detach() for name, p in component.module.named_parameters()}

    def log_likelihood(row: Batch, label: Tensor) -> Tensor:
        return component.predict(row).log_prob(label).sum()

    def of_one_row(values: ParamDict, row: Batch, label: Tensor) -> Tensor:
        one_row = {key: value.unsqueeze(0) for key, value in row.items()}
        return call_with(component, values, log_likelihood, one_row, label.unsqueeze(0))

    row_gradients = vmap(grad(of_one_row), in_dims=(None, 0, 0), randomness="different")
    with torch.no_grad():
        labels = component.predict(batch).sample()
    total = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for first in range(0, len(labels), chunk_size):
        rows = slice(first, first + chunk_size)
        chunk = {key: value[rows] for key, value in batch.items()}
        for name, gradient in row_gradients(parameters, chunk, labels[rows]).items():
            total[name] += gradient.square().sum(dim=0)
    return {name: value / len(labels) for name, value in total.items()}
