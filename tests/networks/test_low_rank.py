"""Low-rank adapters: closed forms, and what must never change."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.low_rank import LowRankMLP


def make(num_tasks: int = 3, rank: int = 2, alpha: float = 3.0, **more) -> LowRankMLP:
    torch.manual_seed(0)
    options = {"hidden": (8, 6), "copies": 2, "layer_norm": True} | more
    return LowRankMLP(NetworkSpec(5, outputs=(2, 1), num_tasks=num_tasks, **options), rank, alpha)


def open_adapters(network: LowRankMLP) -> None:
    """Give the adapters, which start at zero, an effect."""
    with torch.no_grad():
        for name, parameter in network.adapters.named_parameters():
            if name.endswith("up"):
                parameter.normal_()


def rows_of(task: int, n: int = 4) -> torch.Tensor:
    return torch.full((n,), task)


@pytest.mark.parametrize("layer_norm", [False, True, "every"])
def test_one_task_is_the_plain_network(layer_norm):
    spec = NetworkSpec(5, (8, 6), (2, 1), copies=2, layer_norm=layer_norm)
    torch.manual_seed(0)
    plain = MultiHeadMLP(spec)
    after_plain = torch.rand(1)
    torch.manual_seed(0)
    network = LowRankMLP(spec, 2, 3.0)
    assert torch.rand(1) == after_plain, "the same random numbers are used"
    inputs = torch.randn(7, 5)
    assert torch.equal(network(inputs), plain(inputs))
    assert [p.shape for p in network.parameters()] == [p.shape for p in plain.parameters()]


def test_an_adapter_begins_as_no_change():
    network = make()
    inputs = torch.randn(4, 5)
    for task in range(3):
        assert torch.equal(network(inputs, rows_of(task)), network.network(inputs, rows_of(task)))
    first = network.adapters[0][0]
    assert first.down.abs().min() > 0, "else neither matrix would ever get a gradient"
    assert first.down.abs().max() <= 5**-0.5  # as the weights of a linear layer on 5 inputs


@pytest.mark.parametrize("layer_norm", [False, True, "every"])
@pytest.mark.parametrize("copies", [1, 2])
def test_an_adapted_network_is_the_plain_one_with_other_weights(copies, layer_norm):
    """W + (α/r) B A, multiplied out, in a plain network."""
    network = make(copies=copies, layer_norm=layer_norm).double()
    open_adapters(network)
    inputs = torch.randn(4, 5).double()
    for task in range(3):
        plain = MultiHeadMLP(network.spec).double()
        plain.load_state_dict(network.network.state_dict())
        with torch.no_grad():
            for layer, adapter in zip(plain.hidden, network.adapters_of(task), strict=False):
                for copy in range(copies):
                    layer.weight[copy] += 3.0 / 2 * adapter.up[copy] @ adapter.down[copy]
        torch.testing.assert_close(network(inputs, rows_of(task)), plain(inputs, rows_of(task)))


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Tanh])
@pytest.mark.parametrize("rank", [1, 4])
def test_parameters_that_a_task_adds(rank, activation):
    """R (inputs + units) for each hidden layer and copy, and a head."""
    counts = [
        sum(p.numel() for p in make(tasks, rank, activation=activation).parameters())
        for tasks in (1, 2, 3)
    ]
    adapters = 2 * rank * ((5 + 8) + (8 + 6))
    heads = 2 * (6 + 1) * 3
    assert counts[1] - counts[0] == counts[2] - counts[1] == adapters + heads


def test_tasks_share_nothing_of_their_adapters():
    network = make()
    open_adapters(network)
    inputs = torch.randn(4, 5)
    before = [network(inputs, rows_of(task)) for task in range(3)]
    with torch.no_grad():
        for adapter in network.adapters_of(1):
            adapter.down.fill_(float("nan"))
    assert torch.equal(network(inputs, rows_of(0)), before[0])
    assert torch.equal(network(inputs, rows_of(2)), before[2])
    assert not torch.allclose(before[1], before[2])
    mixed = network(inputs, torch.tensor([2, 0, 2, 0]))
    torch.testing.assert_close(mixed[:, ::2], before[2][:, ::2])
    torch.testing.assert_close(mixed[:, 1::2], before[0][:, 1::2])
