"""Losses against their closed forms, naive rewrites of their papers, and another library."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pytorch_metric_learning import distances, losses, reducers
from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.vision.losses import (
    aggregation,
    bilinear_nce,
    counting,
    info_nce,
    instance_discrimination,
    nt_xent,
    triplet_margin,
    two_view_nce,
)

N, M, D = 8, 20, 16
TAU = 0.2


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def some_pairs(rows: int, columns: int) -> Tensor:
    """A mask with some pairs on it, never a whole row."""
    return torch.rand(rows, columns) < 0.3


# closed forms


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_collapsed(temperature: float) -> None:
    same, many = torch.ones(N, D), torch.ones(M, D)
    index = torch.arange(N)
    found = [
        nt_xent(same, same, temperature),
        info_nce(same, same, many, temperature),
        instance_discrimination(same, many, index, temperature),
        bilinear_nce(draw(N, D), draw(N, D), torch.zeros(D, D, dtype=torch.float64)),
        two_view_nce(same, same, temperature),
        triplet_margin(same, same, same, margin=0.3),
        counting(torch.zeros(N, D), torch.zeros(N, 4, D), torch.zeros(N, D), margin=7.0),
    ]
    expected = [math.log(x) for x in (2 * N - 1, M + 1, M, N)] + [2 * math.log(N), 0.3, 7.0]
    assert [float(x) for x in found] == pytest.approx(expected, rel=1e-5)


def test_collapsed_aggregation() -> None:
    background = torch.zeros(N, M, dtype=torch.bool)
    background[:, :10] = True
    close = torch.zeros(N, M, dtype=torch.bool)
    close[:, 8:15] = True  # two of them in the background
    found = aggregation(torch.ones(N, M), close, background, TAU)
    assert float(found) == pytest.approx(math.log(10 / 2), rel=1e-5)


def test_orthonormal_pairs() -> None:
    views = torch.eye(N, dtype=torch.float64)
    assert float(nt_xent(views, views, 0.1)) == pytest.approx(6.354e-4, rel=1e-3)
    exact = -math.log(math.exp(10) / (math.exp(10) + 14))
    assert float(nt_xent(views, views, 0.1)) == pytest.approx(exact, rel=1e-9)


def test_perfect_triplet_costs_nothing() -> None:
    anchors = F.normalize(draw(N, D))
    assert float(triplet_margin(anchors, anchors, -anchors, margin=0.2)) == 0


def test_counts_that_add_up_cost_nothing() -> None:
    parts = draw(N, 4, D).abs()
    others = parts.sum(dim=1) + 10
    assert float(counting(parts.sum(dim=1), parts, others, margin=10.0)) == pytest.approx(0)


# naive rewrites


def naive_nt_xent(first: Tensor, second: Tensor, tau: float, excluded: Tensor) -> float:
    views = [*first, *second]
    total = 0.0
    for i in range(2 * N):
        positive = (i + N) % (2 * N)
        terms = {
            k: math.exp(cosine(views[i], views[k]) / tau)
            for k in range(2 * N)
            if k != i and (k == positive or not excluded[i % N, k % N])
        }
        total -= math.log(terms[positive] / sum(terms.values()))
    return total / (2 * N)


def naive_info_nce(q: Tensor, k: Tensor, negatives: Tensor, tau: float, excluded: Tensor) -> float:
    total = 0.0
    for i in range(N):
        positive = math.exp(cosine(q[i], k[i]) / tau)
        rest = sum(
            math.exp(cosine(q[i], negatives[j]) / tau) for j in range(M) if not excluded[i, j]
        )
        total -= math.log(positive / (positive + rest))
    return total / N


def naive_instance_discrimination(
    f: Tensor, bank: Tensor, index: Tensor, tau: float, excluded: Tensor
) -> float:
    total = 0.0
    for i in range(N):
        own = int(index[i])
        terms = {
            j: math.exp(cosine(f[i], bank[j]) / tau)
            for j in range(M)
            if j == own or not excluded[i, j]
        }
        total -= math.log(terms[own] / sum(terms.values()))
    return total / N


def naive_bilinear(q: Tensor, k: Tensor, weight: Tensor, excluded: Tensor) -> float:
    total = 0.0
    for i in range(N):
        terms = {
            j: math.exp(float(q[i] @ weight @ k[j]))
            for j in range(N)
            if j == i or not excluded[i, j]
        }
        total -= math.log(terms[i] / sum(terms.values()))
    return total / N


def naive_aggregation(
    f: Tensor, bank: Tensor, close: Tensor, background: Tensor, tau: float
) -> float:
    total = 0.0
    for i in range(N):
        among = {j: math.exp(cosine(f[i], bank[j]) / tau) for j in range(M) if background[i, j]}
        near = sum(value for j, value in among.items() if close[i, j])
        total -= math.log(near / sum(among.values()))
    return total / N


NOBODY = torch.zeros(N, M, dtype=torch.bool)


@pytest.mark.parametrize("exclude", [False, True])
def test_naive_rewrites(exclude: bool) -> None:
    first, second, bank = draw(N, D), draw(N, D), draw(M, D)
    weight = 0.1 * draw(D, D)
    index = torch.randperm(M)[:N]
    pairs = some_pairs(N, N) if exclude else NOBODY[:, :N]
    pairs = pairs | pairs.T
    others = some_pairs(N, M) if exclude else NOBODY
    mask = (pairs, others) if exclude else (None, None)
    cases: list[tuple[Tensor, float]] = [
        (nt_xent(first, second, TAU, mask[0]), naive_nt_xent(first, second, TAU, pairs)),
        (
            info_nce(first, second, bank, TAU, mask[1]),
            naive_info_nce(first, second, bank, TAU, others),
        ),
        (
            instance_discrimination(first, bank, index, TAU, mask[1]),
            naive_instance_discrimination(first, bank, index, TAU, others),
        ),
        (
            bilinear_nce(first, second, weight, mask[0]),
            naive_bilinear(first, second, weight, pairs),
        ),
    ]
    unit = [F.normalize(each, dim=1) for each in (first, second)]
    eye = torch.eye(D, dtype=torch.float64) / TAU
    both = naive_bilinear(*unit, eye, pairs) + naive_bilinear(*unit[::-1], eye, pairs.T)
    cases.append((two_view_nce(first, second, TAU, mask[0]), both))
    for found, expected in cases:
        assert float(found) == pytest.approx(expected, rel=1e-9)


def test_naive_aggregation() -> None:
    f, bank = draw(N, D), draw(M, D)
    background, close = ~some_pairs(N, M), some_pairs(N, M)
    background[:, 0] = close[:, 0] = True
    similarity = F.normalize(f, dim=1) @ F.normalize(bank, dim=1).T
    found = aggregation(similarity, close, background, TAU)
    assert float(found) == pytest.approx(naive_aggregation(f, bank, close, background, TAU))


def test_naive_triplet_and_counting() -> None:
    a, p, n = draw(3, N, D)
    unit = [[row / row.norm() for row in each] for each in (a, p, n)]
    expected = sum(
        max(0.0, float((x - y).square().sum() - (x - z).square().sum()) + 0.2)
        for x, y, z in zip(*unit, strict=True)
    )
    assert float(triplet_margin(a, p, n, 0.2)) == pytest.approx(expected / N)
    whole, parts, others = draw(N, 3), draw(N, 4, 3), draw(N, 3)
    total = 0.0
    for i in range(N):
        sums = [sum(float(parts[i, j, d]) for j in range(4)) for d in range(3)]
        same = sum((float(whole[i, d]) - sums[d]) ** 2 for d in range(3))
        different = sum((float(others[i, d]) - sums[d]) ** 2 for d in range(3))
        total += same + max(0.0, 10 - different)
    assert float(counting(whole, parts, others, 10.0)) == pytest.approx(total / N)


# an independent library


def test_nt_xent_is_that_of_pytorch_metric_learning() -> None:
    first, second = draw(N, D), draw(N, D)
    labels = torch.arange(N).repeat(2)
    theirs = losses.NTXentLoss(temperature=TAU)(torch.cat([first, second]), labels)
    assert float(nt_xent(first, second, TAU)) == pytest.approx(float(theirs), rel=1e-6)


def test_info_nce_is_that_of_pytorch_metric_learning() -> None:
    """Theirs takes a query as positive with its key, and the queue as negatives."""
    queries, keys, queue = draw(N, D), draw(N, D), draw(M, D)
    theirs = losses.NTXentLoss(temperature=TAU)
    found = []
    for i in range(N):
        reference = torch.cat([keys[i : i + 1], queue])
        labels = torch.cat([torch.zeros(1), torch.ones(M)]).long()
        found.append(
            theirs(queries[i : i + 1], torch.zeros(1).long(), ref_emb=reference, ref_labels=labels)
        )
    expected = float(torch.stack(found).mean())
    assert float(info_nce(queries, keys, queue, TAU)) == pytest.approx(expected, rel=1e-6)


def test_triplet_is_that_of_pytorch_metric_learning() -> None:
    a, p, n = draw(3, N, D)
    theirs = losses.TripletMarginLoss(
        margin=0.2,
        distance=distances.LpDistance(normalize_embeddings=True, power=2),
        reducer=reducers.MeanReducer(),
    )
    index = torch.arange(N)
    expected = theirs(
        torch.cat([a, p, n]),
        torch.arange(3 * N),
        indices_tuple=(index, index + N, index + 2 * N),
    )
    assert float(triplet_margin(a, p, n, 0.2)) == pytest.approx(float(expected), rel=1e-6)


# invariants


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: nt_xent(x, y, TAU),
        lambda x, y: info_nce(x, y, x.detach(), TAU),
        lambda x, y: two_view_nce(x, y, TAU),
        lambda x, y: triplet_margin(x, y, y.roll(1, 0), 0.2),
    ],
)
def test_only_directions_matter(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    x, y = draw(N, D), draw(N, D)
    turn, _ = torch.linalg.qr(draw(D, D))
    scale = torch.rand(N, 1, dtype=torch.float64) + 0.5
    assert float(loss(x * scale @ turn, y @ turn)) == pytest.approx(float(loss(x, y)))


def test_a_mask_never_takes_the_positive_away() -> None:
    everyone = torch.ones(N, N, dtype=torch.bool)
    x, y = draw(N, D), draw(N, D)
    assert float(nt_xent(x, y, TAU, everyone)) == pytest.approx(0)
    assert float(two_view_nce(x, y, TAU, everyone)) == pytest.approx(0)
    bank, index = draw(M, D), torch.arange(N)
    hidden = torch.ones(N, M, dtype=torch.bool)
    assert float(instance_discrimination(x, bank, index, TAU, hidden)) == pytest.approx(0)
    assert float(info_nce(x, y, bank, TAU, hidden)) == pytest.approx(0)
    assert not (~everyone).any()  # the mask itself is left as it was
