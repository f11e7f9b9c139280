"""Measures of a network's features: hand-computed values, and the activations themselves."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.networks.features import (
    dormant_share,
    evaluated_networks,
    recorded_features,
    srank,
    srank_of,
)
from lifelong_rl.networks.packnet import PackNetMLP
from lifelong_rl.networks.progressive import ProgressiveMLP

SPEC = NetworkSpec(input_dim=3, hidden=(5, 4), outputs=(2,), num_tasks=2, copies=2)


def test_dormant_units_are_told_beside_their_layer() -> None:
    # mean |h| of the units: 2, 0.04 and 0, of the layer 0.68; the threshold is 0.1 × 0.68 = 0.068
    features = torch.tensor([[[1.0, -0.04, 0.0], [3.0, 0.04, 0.0]]])
    assert dormant_share(features, threshold=0.1) == pytest.approx(2 / 3)
    assert dormant_share(features, threshold=0.05) == pytest.approx(1 / 3)
    assert dormant_share(1000 * features, threshold=0.1) == pytest.approx(2 / 3)
    assert dormant_share(torch.zeros(1, 4, 3)) == 1.0


def test_each_copy_is_a_layer_of_its_own() -> None:
    lively, quiet = torch.ones(1, 4, 3), 1e-6 * torch.ones(1, 4, 3)
    assert dormant_share(torch.cat([lively, quiet])) == 0.0


def test_srank_of_known_singular_values() -> None:
    # 98 of 100 in two directions, 99 in three: δ = 0.01 needs three, δ = 0.02 two
    features = torch.zeros(1, 6, 5)
    features[0, range(5), range(5)] = torch.tensor([60.0, 38.0, 1.0, 0.6, 0.4])
    assert srank(features, delta=0.011) == 3
    assert srank(features, delta=0.021) == 2
    assert srank(features, delta=0.0051) == 4
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)))[0]
    assert srank(turn @ features, delta=0.011) == 3
    one = torch.ones(1, 6, 5)
    assert srank(torch.cat([one, turn[None, :, :5]])) == (1 + 5) / 2


def test_recorded_features_are_what_the_heads_read() -> None:
    torch.manual_seed(0)
    network = MultiHeadMLP(SPEC)
    inputs, task = torch.randn(7, 3), torch.tensor([1] * 7)
    with recorded_features(network) as features:
        output = network(inputs, task)
    assert [tuple(part.shape) for part in features] == [(2, 7, 5), (2, 7, 4)]
    first = torch.relu(network.hidden[0](inputs))
    torch.testing.assert_close(features[0], first)
    torch.testing.assert_close(network.heads(features[1])[..., 2:], output)
    network(inputs, task)
    assert len(features) == 2  # no hook is left


def test_progressive_features_are_those_of_the_last_column() -> None:
    torch.manual_seed(0)
    network = ProgressiveMLP(SPEC, adapter_dim=3)
    inputs, task = torch.randn(7, 3), torch.tensor([1] * 7)
    with recorded_features(network) as features:
        network(inputs, task)
    column = network.task_modules(1)[0]
    torch.testing.assert_close(features[0], torch.relu(column.hidden[0](inputs)))  # type: ignore[index, operator]
    assert len(features) == 2


def test_masked_networks_are_seen_through_their_mask() -> None:
    torch.manual_seed(0)
    network = PackNetMLP(SPEC)
    network.prune(0, keep=0.0)
    with recorded_features(network) as features:
        network(torch.randn(7, 3), torch.tensor([0] * 7))
    bias = network.network.hidden[0].bias  # all that is left of the first layer
    torch.testing.assert_close(features[0], torch.relu(bias).unsqueeze(1).expand(2, 7, 5))  # type: ignore[arg-type, union-attr]


def test_the_network_that_is_evaluated_last_is_the_one_whose_features_are_kept() -> None:
    torch.manual_seed(0)
    network = ProgressiveMLP(SPEC, adapter_dim=3)
    with evaluated_networks(network) as evaluated, recorded_features(network) as features:
        network(torch.randn(7, 3), torch.tensor([1] * 7))
    assert evaluated == [network.task_modules(1)[0]]
    network(torch.randn(7, 3), torch.tensor([0] * 7))
    assert len(evaluated) == 1 and len(features) == 2  # no hook is left


def test_srank_of_singular_values() -> None:
    values = torch.tensor([[60.0, 38.0, 1.0, 0.6, 0.4], [1.0, 1.0, 1.0, 1.0, 1.0]])
    assert srank_of(values, delta=0.011).tolist() == [3, 5]
