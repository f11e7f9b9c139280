"""Products of the gradients of single rows, beside those that autograd forms row by row."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lifelong_rl.networks import MultiHeadMLP, NetworkSpec, TaskNetwork
from lifelong_rl.networks.bayesian import BayesianMLP
from lifelong_rl.networks.curvature import gradient_products, recorded_calls, spectrum
from lifelong_rl.networks.packnet import PackNetMLP
from lifelong_rl.networks.progressive import ProgressiveMLP
from lifelong_rl.networks.separate import SeparateMLP

SPEC = NetworkSpec(input_dim=3, hidden=(5, 4), outputs=(2,), num_tasks=2, copies=2)
KINDS = {
    "plain": MultiHeadMLP,
    "masked": PackNetMLP,
    "columns": SeparateMLP,
    "sampled": lambda spec: BayesianMLP(spec, 0.1),
}


def build(kind: str) -> TaskNetwork:
    torch.manual_seed(0)
    network: TaskNetwork = KINDS[kind](SPEC)  # type: ignore[operator]
    if isinstance(network, PackNetMLP):
        network.prune(0, keep=0.5)  # the others count too, as what task 1 is to learn
        network.claim(1)
    return network


def of_row(network: nn.Module, inputs: Tensor, task: Tensor) -> list[Tensor]:
    """A function of each row, (n,), with a different slope in each output."""
    torch.manual_seed(1)
    outputs = network(inputs, task)
    weight = torch.arange(1.0, 5.0).view(2, 1, 2)
    return list((outputs.tanh() * weight).sum(dim=(0, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_gradients_formed_row_by_row(kind: str) -> None:
    network = build(kind)
    inputs, task = torch.randn(6, 3), torch.tensor([1] * 6)
    learned = [p for n, p in network.named_parameters() if not n.endswith("log_std")]
    rows = []
    for value in of_row(network, inputs, task):
        found = torch.autograd.grad(value, learned, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([g.reshape(-1) for g in found if g is not None]))
    with recorded_calls(network) as calls:
        total = sum(of_row(network, inputs, task), start=torch.zeros(()))
    products = gradient_products(calls, total)
    torch.testing.assert_close(products, torch.stack(rows) @ torch.stack(rows).T)
    network(inputs, task)
    assert len(calls) == 3  # no hook is left


def test_a_layer_that_is_called_twice_has_one_gradient_for_a_row() -> None:
    torch.manual_seed(0)
    network = MultiHeadMLP(NetworkSpec(input_dim=2, hidden=(3,), outputs=(1,)))
    first, second = torch.randn(2, 4, 2)

    def values() -> Tensor:
        return (network(first) - 2 * network(second)).flatten()

    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(v, list(network.parameters()))])
        for v in [values()[k] for k in range(4)]
    ]
    with recorded_calls(network) as calls:
        total = values().sum()
    assert len(calls) == 4
    torch.testing.assert_close(
        gradient_products(calls, total), torch.stack(rows) @ torch.stack(rows).T
    )


def test_the_fisher_information_of_a_linear_model() -> None:
    """With log p(y|x) = w·x + b, a row's gradient is (x, 1): F = (1/n) Σ (x, 1)(x, 1)ᵀ."""
    network = MultiHeadMLP(NetworkSpec(input_dim=2, hidden=(), outputs=(1,)))
    inputs = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    with recorded_calls(network) as calls:
        total = network(inputs).sum()
    # the mean of x_1² is 9/2, of x_2² 1/2, of 1 it is 1; a fourth direction there is not
    expected = torch.tensor([4.5, 1.0, 0.5, 0.0])
    torch.testing.assert_close(spectrum(gradient_products(calls, total)), expected)


def test_only_what_is_learned_counts() -> None:
    torch.manual_seed(0)
    network = ProgressiveMLP(SPEC, adapter_dim=3)
    for part in network.task_modules(0):
        part.requires_grad_(False)
    with recorded_calls(network) as calls:
        network(torch.randn(3, 3), torch.tensor([1] * 3))
    column = network.task_modules(1)[0]
    assert [call.layer for call in calls] == [*column.hidden, column.heads]  # type: ignore[misc]
