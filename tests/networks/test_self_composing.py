"""Self-composing modules: the paper's formulae, growth, and what must never change."""

from __future__ import annotations

import math

import pytest
import torch

from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.self_composing import SelfComposingMLP, encode_positions

MODEL_DIM = 4


def make(num_tasks: int = 3, **more) -> SelfComposingMLP:
    torch.manual_seed(0)
    options = {"hidden": (8, 6), "copies": 2, "layer_norm": True} | more
    spec = NetworkSpec(5, outputs=(2, 1), num_tasks=num_tasks, **options)
    return SelfComposingMLP(spec, MODEL_DIM)


def rows_of(task: int, n: int = 4) -> torch.Tensor:
    return torch.full((n,), task)


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("layer_norm", [False, True, "every"])
def test_one_task_is_the_plain_network(copies, layer_norm):
    spec = NetworkSpec(5, (8, 6), (2, 1), copies=copies, layer_norm=layer_norm)
    torch.manual_seed(0)
    plain = MultiHeadMLP(spec)
    after_plain = torch.rand(1)
    torch.manual_seed(0)
    network = SelfComposingMLP(spec, MODEL_DIM)
    assert torch.rand(1) == after_plain, "the same random numbers are used"
    inputs = torch.randn(7, 5)
    assert torch.equal(network(inputs), plain(inputs))
    assert [p.shape for p in network.parameters()] == [p.shape for p in plain.parameters()]


@pytest.mark.parametrize("copies", [1, 2])
def test_the_third_module_against_the_paper(copies):
    """Section 4.2 row by row and copy by copy, with the keys and values that it has."""
    network = make(copies=copies).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "head" in name and "heads" not in name:
                parameter.mul_(5)  # so that attention is far from even
    inputs = torch.randn(4, 5).double()
    found = network(inputs, rows_of(2))
    module = network.columns[2]
    earlier = [network(inputs, rows_of(k)) for k in range(2)]

    def attend(head, x, keys_of, values, copy):
        query = x @ head.query[copy]
        keys = keys_of @ head.key[copy]
        weights = torch.softmax(keys @ query / math.sqrt(MODEL_DIM), dim=0)
        assert weights.max() > 1.2 * weights.min()
        return weights @ values

    contexts = torch.zeros(copies, 4, MODEL_DIM).double()
    proposed = torch.zeros(copies, 4, 3).double()
    for copy in range(copies):
        for row, x in enumerate(inputs):
            phi = torch.stack([output[copy, row] for output in earlier])
            encoded = phi + encode_positions(2, 3)
            v = attend(module.output_head, x, encoded, phi, copy)
            both = torch.cat([v.unsqueeze(0), phi])
            values = both @ module.value[copy]
            encoded = both + encode_positions(3, 3)
            contexts[copy, row] = attend(module.input_head, x, encoded, values, copy)
            proposed[copy, row] = v
    own = module.internal(torch.cat([inputs.expand(copies, -1, -1), contexts], dim=2))
    torch.testing.assert_close(found, proposed + own)


def test_even_attention_without_a_policy_of_its_own_is_the_mean_of_the_earlier_ones():
    network = make()
    module = network.columns[2]
    with torch.no_grad():
        module.output_head.query.zero_()
        module.internal.heads.weight.zero_()
        module.internal.heads.bias.zero_()
    inputs = torch.randn(4, 5)
    earlier = [network(inputs, rows_of(k)) for k in range(2)]
    torch.testing.assert_close(network(inputs, rows_of(2)), (earlier[0] + earlier[1]) / 2)


@pytest.mark.parametrize("fitting", [0, 1])
def test_attention_finds_the_earlier_policy_that_fits(fitting):
    """Where nothing else is learned, and whatever the inputs are but for one that is constant."""
    network = make(copies=1)
    module = network.columns[2]
    with torch.no_grad():
        module.internal.heads.weight.zero_()
        module.internal.heads.bias.zero_()
    inputs = torch.cat([torch.randn(64, 4), torch.ones(64, 1)], dim=1)
    wanted = network(inputs, rows_of(fitting, 64)).detach()
    optimizer = torch.optim.Adam(module.output_head.parameters(), lr=0.05)
    errors = []
    for _ in range(100):
        error = (network(inputs, rows_of(2, 64)) - wanted).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.01 * errors[0]


def test_positions_by_hand():
    found = encode_positions(3, 3)
    assert found[0].tolist() == [0.0, 1.0, 0.0]
    rate = 10_000 ** (-2 / 3)
    for position in (1, 2):
        expected = [math.sin(position), math.cos(position), math.sin(position * rate)]
        assert found[position].tolist() == pytest.approx(expected)


def test_each_module_has_as_many_parameters_as_the_next():
    counts = [sum(p.numel() for p in make(k, copies=1).parameters()) for k in (1, 2, 3, 5)]
    internal = (5 + MODEL_DIM) * 8 + 8 + 2 * 8 + 8 * 6 + 6 + 6 * 3 + 3  # LayerNorm's 2 · 8
    attention = 2 * (5 * MODEL_DIM + 3 * MODEL_DIM) + 3 * MODEL_DIM
    assert counts[0] == internal - MODEL_DIM * 8
    assert counts[1] - counts[0] == counts[2] - counts[1] == internal + attention
    assert counts[3] - counts[2] == 2 * (internal + attention)


def test_earlier_modules_feed_later_ones_and_never_the_reverse():
    network = make()
    inputs = torch.randn(4, 5)
    before = [network(inputs, rows_of(k)) for k in range(3)]
    with torch.no_grad():
        for parameter in network.columns[1].parameters():
            parameter.add_(torch.randn_like(parameter))
    assert torch.equal(network(inputs, rows_of(0)), before[0])
    assert not torch.allclose(network(inputs, rows_of(1)), before[1])
    assert not torch.allclose(network(inputs, rows_of(2)), before[2])


def test_a_broken_later_module_does_not_reach_old_rows():
    network = make()
    inputs = torch.randn(2, 5)
    before = network(inputs, rows_of(0, 2))
    with torch.no_grad():
        for parameter in network.columns[2].parameters():
            parameter.fill_(float("nan"))
    assert torch.equal(network(inputs, rows_of(0, 2)), before)
    torch.testing.assert_close(network(inputs, torch.tensor([0, 2]))[:, 0], before[:, 0])


def test_later_modules_are_not_evaluated():
    network = make()
    calls = []
    for index, column in enumerate(network.columns):
        column.register_forward_hook(lambda *_, index=index: calls.append(index))
    network(torch.randn(2, 5), torch.tensor([1, 0]))
    assert calls == [0, 1]


def test_positions_are_no_part_of_what_is_saved():
    assert "positions" not in make().state_dict()
