"""Measures of weight matrices, by hand."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.networks.weights import stable_rank, weight_magnitude


def test_stable_rank_of_known_singular_values() -> None:
    # (4 + 1 + 1) / 4, whichever side is longer and however the axes are turned
    weight = torch.zeros(1, 5, 3)
    weight[0, range(3), range(3)] = torch.tensor([2.0, 1.0, 1.0])
    assert stable_rank(weight) == pytest.approx(1.5)
    assert stable_rank(7 * weight.mT) == pytest.approx(1.5)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)))[0]
    assert stable_rank(turn @ weight) == pytest.approx(1.5)
    one, all_alike = torch.ones(1, 4, 6), torch.eye(4, 6).unsqueeze(0)
    assert stable_rank(one) == pytest.approx(1)
    assert stable_rank(all_alike) == pytest.approx(4)
    assert stable_rank(torch.cat([one, all_alike])) == pytest.approx((1 + 4) / 2)
    assert stable_rank(torch.zeros(1, 3, 2)) == 0


def test_weight_magnitude_is_a_mean_of_sizes() -> None:
    assert weight_magnitude(torch.tensor([[[1.0, -2.0], [0.0, 5.0]]])) == 2.0
