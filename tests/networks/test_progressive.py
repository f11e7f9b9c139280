"""Progressive networks: columns, lateral connections, and what must never change."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.progressive import ProgressiveMLP


def make(num_tasks: int = 3, **more) -> ProgressiveMLP:
    torch.manual_seed(0)
    options = {"hidden": (8, 6), "copies": 2, "layer_norm": True} | more
    return ProgressiveMLP(NetworkSpec(5, outputs=(2, 1), num_tasks=num_tasks, **options), 4)


def open_laterals(network: ProgressiveMLP) -> None:
    """Give the zero-initialised lateral connections an effect."""
    with torch.no_grad():
        for name, parameter in network.laterals.named_parameters():
            if name.endswith("output"):
                parameter.normal_()


def rows_of(*tasks: int) -> torch.Tensor:
    return torch.tensor(tasks)


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_one_task_is_the_plain_network(copies, layer_norm):
    spec = NetworkSpec(5, (8, 6), (2, 1), copies=copies, layer_norm=layer_norm)
    torch.manual_seed(0)
    plain = MultiHeadMLP(spec)
    after_plain = torch.rand(1)
    torch.manual_seed(0)
    progressive = ProgressiveMLP(spec, 4)
    assert torch.rand(1) == after_plain, "the same random numbers are used"
    inputs = torch.randn(7, 5)
    assert torch.equal(progressive(inputs), plain(inputs))
    numbers = [sum(p.numel() for p in net.parameters()) for net in (progressive, plain)]
    assert numbers[0] == numbers[1]


def test_new_column_starts_as_a_fresh_network():
    network = make()
    inputs = torch.randn(4, 5)
    assert torch.equal(network(inputs, rows_of(2, 2, 2, 2)), network.columns[2](inputs))


@pytest.mark.parametrize("copies", [1, 2])
def test_forward_against_the_paper(copies):
    """Eq. 2 layer by layer for the third column, one copy at a time."""
    network = make(copies=copies, layer_norm=False)
    open_laterals(network)
    with torch.no_grad():
        for lateral in network.laterals[2]:
            lateral.scales.uniform_(0.5, 2)
    inputs = torch.randn(3, 5)
    found = network(inputs, rows_of(2, 2, 2))
    for copy in range(copies):

        def linear(layer, x, copy=copy):
            return x @ layer.weight[copy].T + layer.bias[copy]

        def lateral(module, earlier, copy=copy):
            scaled = [module.scales[j, copy, 0, 0] * h for j, h in enumerate(earlier)]
            return torch.relu(linear(module.adapter, torch.cat(scaled, 1))) @ module.output[copy]

        h1 = [torch.relu(linear(network.columns[k].hidden[0], inputs)) for k in range(3)]
        h2 = []
        for k in range(3):
            total = linear(network.columns[k].hidden[1], h1[k])
            if k:
                total = total + lateral(network.laterals[k][0], h1[:k])
            h2.append(torch.relu(total))
        out = linear(network.columns[2].heads, h2[2]) + lateral(network.laterals[2][1], h2[:2])
        torch.testing.assert_close(found[copy], out)


def test_earlier_columns_feed_later_ones_and_never_the_reverse():
    network = make()
    open_laterals(network)
    inputs = torch.randn(4, 5)
    before = [network(inputs, rows_of(*[k] * 4)) for k in range(3)]
    with torch.no_grad():
        for module in network.task_modules(1):
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter))
    after = [network(inputs, rows_of(*[k] * 4)) for k in range(3)]
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])
    assert not torch.allclose(before[2], after[2])


def test_mixed_batch_chooses_the_column_of_each_row():
    network = make()
    open_laterals(network)
    inputs = torch.randn(6, 5)
    tasks = [2, 0, 1, 1, 2, 0]
    mixed = network(inputs, rows_of(*tasks))
    for row, task in enumerate(tasks):
        alone = network(inputs[row : row + 1], rows_of(task))
        torch.testing.assert_close(mixed[:, row : row + 1], alone)
    # Tasks that leave a gap, so that position in the batch's tasks is not the column's index.
    torch.testing.assert_close(network(inputs[:2], rows_of(2, 0)), mixed[:, :2])


def test_broken_later_column_does_not_reach_old_rows():
    network = make()
    inputs = torch.randn(2, 5)
    before = network(inputs, rows_of(0, 0))
    with torch.no_grad():
        for module in network.task_modules(2):
            for parameter in module.parameters():
                parameter.fill_(float("nan"))
    assert torch.equal(network(inputs, rows_of(0, 0)), before)
    torch.testing.assert_close(network(inputs, rows_of(0, 2))[:, 0], before[:, 0])


def test_later_columns_are_not_evaluated():
    network = make()
    calls = []
    for index, column in enumerate(network.columns):
        column.hidden[0].register_forward_hook(lambda *_, index=index: calls.append(index))
    network(torch.randn(2, 5), rows_of(1, 0))
    assert calls == [0, 1]


def test_rows_can_be_mapped_one_by_one():
    """Per-sample gradients need `vmap`, under which no value of the batch can be read."""
    network = make()
    open_laterals(network)
    inputs, task = torch.randn(5, 5), rows_of(0, 2, 1, 2, 0)
    mapped = torch.func.vmap(lambda x, t: network(x[None], t[None])[:, 0], out_dims=1)(inputs, task)
    torch.testing.assert_close(mapped, network(inputs, task))


def test_network_without_hidden_layers():
    network = make(hidden=(), layer_norm=False)
    inputs = torch.randn(2, 5)
    assert torch.equal(network(inputs, rows_of(1, 1)), network.columns[1](inputs))


def test_task_is_needed_with_several_columns():
    with pytest.raises(ValueError, match="needs the task of each row"):
        make()(torch.zeros(1, 5))
