"""What learning changes where it does not look: the churn of a few updates that are undone."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.continual.distributions import outputs
from lifelong_rl.errors import NonFiniteError
from lifelong_rl.learning import Batch, Component, gradient_step
from lifelong_rl.learning.rows import take_rows
from lifelong_rl.learning.seeding import generator_state, set_generator_state

UPDATES = 3
"""Updates whose churn is measured: one alone is as noisy as its batch."""
BATCH = 128
"""Rows in each of them."""


def measure_churn(component: Component, held: Batch, others: Batch) -> float | None:
    """How much some updates change the predictions on rows that they do not learn from.

    The mean magnitude of f_after(x) − f_before(x) over rows x of `held` and the network's outputs
    f: values, means and log standard deviations of actions, or log probabilities of classes.
    Between the two are `UPDATES` steps of the component's loss with its optimizer, moments
    included, on batches drawn from `others`, which are then undone to the last bit. No method takes
    part, and no clipping of gradients: this is what network and optimizer do when they learn.

    Args:
        component: Whose network.
        held: Rows, (n, ...).
        others: Other rows of the same task.

    Returns:
        None where outputs of such a prediction cannot be told, or a loss is not finite.

    References:
        Tang & Berseth 2024, Improving deep reinforcement learning by reducing the chain effect of
        value and policy churn.
        Tang et al. 2025, Mitigating plasticity loss in continual reinforcement learning by reducing
        churn.
    """
    state = generator_state()  # sampled predictions draw the same numbers before and after
    before = _predict(component, held)
    if before is None:
        return None
    count = len(next(iter(others.values())))
    with put_back(component):
        try:
            for _ in range(UPDATES):
                gradient_step(component, take_rows(others, torch.randint(count, (BATCH,))))
        except NonFiniteError:
            return None
        set_generator_state(state)
        after = _predict(component, held)
    assert after is not None
    return float((after - before).abs().mean())


@contextmanager
def put_back(component: Component) -> Iterator[None]:
    """Undo what gradient steps in between do, to the last bit.

    Parameters, their gradients, buffers and the optimizer's state are then as before.
    """
    module, optimizer = component.module, component.optimizer
    parameters = [*module.parameters()]
    known = {*map(id, parameters)}
    for group in optimizer.param_groups:
        parameters += [each for each in group["params"] if id(each) not in known]
    held: list[Tensor] = [*parameters, *module.buffers()]
    before = [tensor.detach().clone() for tensor in held]
    gradients = [parameter.grad for parameter in parameters]
    state = optimizer.state
    optimizer.state = defaultdict(dict, {each: _copy(kept) for each, kept in state.items()})
    try:
        yield
    finally:
        optimizer.state = state
        with torch.no_grad():
            for tensor, values in zip(held, before, strict=True):
                tensor.copy_(values)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient


@torch.no_grad()
def _predict(component: Component, rows: Batch) -> Tensor | None:
    """The outputs (n, k); None where those of such a prediction cannot be told."""
    prediction = component.predict(rows)
    try:
        return outputs(prediction).clone()
    except TypeError:
        return None


def _copy(kept: dict[str, Any]) -> dict[str, Any]:
    """What an optimizer keeps of a parameter."""
    return {
        name: value.clone() if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in kept.items()
    }
