"""Alignment, uniformity and effective rank: known values and naive rewrites."""

from __future__ import annotations

import math

import pytest
import torch

from lifelong_rl.vision.representation import alignment, effective_rank, nearest, uniformity


def test_alignment() -> None:
    x = torch.randn(20_000, 64)
    assert alignment(x, 3 * x) == pytest.approx(0, abs=1e-6)
    assert alignment(x, -x) == pytest.approx(4, rel=1e-5)
    assert alignment(x, torch.randn(20_000, 64)) == pytest.approx(2, abs=0.01)


def test_uniformity() -> None:
    """Of independent uniform directions; of equal ones; of two opposite ones, by hand."""
    assert uniformity(torch.randn(3000, 64)) == pytest.approx(-3.8752, abs=2e-3)
    assert uniformity(torch.ones(50, 3)) == pytest.approx(0)
    assert uniformity(torch.tensor([[1.0, 0], [-2, 0]])) == pytest.approx(-8)


def test_uniformity_is_the_mean_over_pairs() -> None:
    x = torch.nn.functional.normalize(torch.randn(7, 5), dim=1)
    pairs = [(i, j) for i in range(7) for j in range(i)]
    total = sum(math.exp(-2 * float((x[i] - x[j]).square().sum())) for i, j in pairs)
    assert uniformity(x) == pytest.approx(math.log(total / len(pairs)), rel=1e-5)


def test_effective_rank() -> None:
    assert effective_rank(torch.ones(30, 6)) == pytest.approx(1)
    assert effective_rank(torch.eye(6).repeat(5, 1)) == pytest.approx(6)
    halves = torch.diag(torch.tensor([3.0, 1.0]))  # shares ¾ and ¼
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank(halves) == pytest.approx(expected)
    turn, _ = torch.linalg.qr(torch.randn(6, 6))
    x = torch.randn(30, 6)
    assert effective_rank(5 * x @ turn) == pytest.approx(effective_rank(x), rel=1e-4)


def test_nearest_by_hand() -> None:
    keys = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [10, 1]])
    queries = torch.tensor([[2.0, 0], [0, 3]])
    excluded = torch.tensor([[True, False, False, False], [False, False, False, False]])
    assert nearest(queries, keys, excluded, k=2).tolist() == [[3, 1], [1, 3]]
