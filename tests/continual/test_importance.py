"""The Fisher information against closed forms and a naive loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lifelong_rl.continual.importance import fisher_diagonal
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec


def test_linear_gaussian_by_hand(predictor, distributions):
    """∂ log N(y; Wx + b, 1) / ∂W_ji = ε_j x_i and … / ∂b_j = ε_j, with ε the noise of y."""
    component = predictor(nn.Linear(3, 2), distributions["unit_normal"])
    batch = {"inputs": torch.randn(10, 3)}
    torch.manual_seed(5)
    prediction = component.predict(batch)
    noise = prediction.sample() - prediction.mean
    torch.manual_seed(5)
    fisher = fisher_diagonal(component, batch)
    expected = (noise.square().T @ batch["inputs"].square()) / 10
    torch.testing.assert_close(fisher["weight"], expected)
    torch.testing.assert_close(fisher["bias"], noise.square().mean(dim=0))


def test_linear_gaussian_in_expectation(predictor, distributions):
    """The analytic Fisher information is E[x_i²] for W_ji and 1 for b_j."""
    torch.manual_seed(0)
    component = predictor(nn.Linear(3, 2), distributions["unit_normal"])
    inputs = torch.tensor([[1.0, 2.0, 0.0], [3.0, -1.0, 0.5]]).repeat(20_000, 1)
    fisher = fisher_diagonal(component, {"inputs": inputs}, chunk_size=4000)
    expected = torch.tensor([5.0, 2.5, 0.125]).expand(2, 3)
    torch.testing.assert_close(fisher["weight"], expected, rtol=0.05, atol=0)
    torch.testing.assert_close(fisher["bias"], torch.ones(2), rtol=0.05, atol=0)


def test_logistic_regression_in_expectation(predictor, distributions):
    """Enumerating both labels gives p(1 − p) x_i² for either row of W."""
    torch.manual_seed(0)
    component = predictor(nn.Linear(2, 2, bias=False), distributions["categorical"])
    rows = torch.tensor([[1.0, -2.0], [0.5, 1.5], [-1.0, 0.3]])
    p = torch.softmax(component.module(rows), dim=1)[:, 0]
    expected = ((p * (1 - p))[:, None] * rows.square()).mean(dim=0).detach()
    fisher = fisher_diagonal(component, {"inputs": rows.repeat(20_000, 1)}, chunk_size=4000)
    torch.testing.assert_close(fisher["weight"], expected.expand(2, 2), rtol=0.03, atol=0)


@pytest.mark.parametrize("chunk_size", [1, 7, 100])
def test_multi_head_network_against_a_loop(predictor, distributions, chunk_size):
    """One backward pass per row, whatever the chunk; heads of absent tasks do not matter."""
    torch.manual_seed(0)
    network = MultiHeadMLP(NetworkSpec(4, (8,), (3,), num_tasks=3, layer_norm=True))
    component = predictor(network, distributions["categorical"])
    task = torch.arange(20) % 2
    batch = {"inputs": torch.randn(20, 4), "task": task}
    torch.manual_seed(1)
    labels = component.predict(batch).sample()
    expected = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    for row in range(20):
        network.zero_grad()
        one = {key: value[row : row + 1] for key, value in batch.items()}
        component.predict(one).log_prob(labels[row]).sum().backward()
        for name, parameter in network.named_parameters():
            expected[name] += parameter.grad.square() / 20

    torch.manual_seed(1)
    fisher = fisher_diagonal(component, batch, chunk_size=chunk_size)
    for name, value in expected.items():
        torch.testing.assert_close(fisher[name], value, rtol=1e-4, atol=1e-7, msg=name)
    heads = fisher["heads.weight"].view(3, 3, 8)
    assert (heads[:2] > 0).any()
    assert (heads[2] == 0).all()


def test_gradients_and_parameters_are_left_alone(predictor, distributions):
    component = predictor(nn.Linear(3, 2), distributions["unit_normal"])
    component.module.bias.requires_grad_(False)
    before = component.module.weight.detach().clone()
    fisher = fisher_diagonal(component, {"inputs": torch.randn(5, 3)})
    assert component.module.weight.grad is None
    assert torch.equal(component.module.weight, before)
    assert not component.module.bias.requires_grad
    assert (fisher["bias"] > 0).all(), "frozen parameters are measured too"
