"""The queue, the memory bank, the slow encoder, k-means, patches, and what constants predict."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import nn
from torch.nn import functional as F

from lifelong_rl.vision.clustering import assign, kmeans
from lifelong_rl.vision.heads import GridDecoder, follow, from_patches, mlp, to_patches
from lifelong_rl.vision.memories import MemoryBank, Queue
from lifelong_rl.vision.prediction import constant_cross_entropy, constant_squared_error


def test_queue_is_first_in_first_out_and_wraps_around() -> None:
    queue = Queue(5, 2)
    assert (queue.episodes == -1).all()
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(5))
    pushed = F.normalize(torch.randn(13, 2), dim=1)
    moments = torch.arange(13)
    for part in (slice(0, 3), slice(3, 6), slice(6, 13)):  # the last one is longer than the queue
        queue.push(2 * pushed[part], moments[part], 10 + moments[part])
        newest = moments[: part.stop][-5:]
        assert sorted(queue.episodes.tolist())[-len(newest) :] == newest.tolist()
        kept = queue.episodes >= 0
        torch.testing.assert_close(queue.keys[kept], pushed[queue.episodes[kept]])
        assert torch.equal(queue.positions[kept], 10 + queue.episodes[kept])
    assert int(queue.next) == 13 % 5


def test_bank_by_hand() -> None:
    bank = MemoryBank(torch.randn(4, 2), momentum=0.5)
    bank.vectors[1] = torch.tensor([1.0, 0])
    before = bank.vectors.clone()
    bank.update(torch.tensor([1]), torch.tensor([[0.0, 3]]))
    assert bank.vectors[1].tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert torch.equal(bank.vectors[[0, 2, 3]], before[[0, 2, 3]])


def test_memories_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="a queue must hold at least 1 key, not 0"):
        Queue(0, 2)
    with pytest.raises(ValueError, match=r"bank_momentum must lie in \[0, 1\), not 1.0"):
        MemoryBank(torch.ones(2, 2), momentum=1.0)


def test_following_n_times() -> None:
    """θ_k = θ_q + mⁿ(θ_k − θ_q) after n steps towards a θ_q that stands still."""
    source, target = mlp(3, 4, 2).double(), mlp(3, 4, 2).double()
    start = copy.deepcopy(target)
    for _ in range(7):
        follow(target, source, 0.9)
    for q, k, before in zip(
        source.parameters(), target.parameters(), start.parameters(), strict=True
    ):
        torch.testing.assert_close(k, q + 0.9**7 * (before - q))


def test_kmeans_finds_what_scikit_learn_finds() -> None:
    centres = 10 * torch.randn(4, 3)
    points = centres.repeat_interleave(50, 0) + torch.randn(200, 3)
    best = min(
        (kmeans(points, 4, iterations=50) for _ in range(20)),
        key=lambda found: float((points - found.centres[found.assignment]).square().sum()),
    )
    theirs = KMeans(4, n_init=20, random_state=0).fit(points.numpy())
    inertia = float((points - best.centres[best.assignment]).square().sum())
    assert inertia == pytest.approx(theirs.inertia_, rel=1e-5)
    assert adjusted_rand_score(theirs.labels_, best.assignment.numpy()) == 1


def test_kmeans_is_at_rest() -> None:
    points = torch.randn(300, 5)
    found = kmeans(points, 8, iterations=500)
    assert torch.equal(assign(points, found.centres), found.assignment)
    for k in range(8):
        mine = points[found.assignment == k]
        torch.testing.assert_close(found.centres[k], mine.mean(dim=0), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="3 points cannot be divided into 4 clusters"):
        kmeans(points[:3], 4)


def test_patches_by_hand() -> None:
    images = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    patches = to_patches(images, 2)
    assert patches.shape == (2, 6, 12)
    for place, (y, x) in enumerate(np.ndindex(2, 3)):
        corner = images[:, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        assert torch.equal(patches[:, place], corner.flatten(1))
    assert torch.equal(from_patches(patches, 2, 4, 6), images)
    with pytest.raises(ValueError, match="patches of 3 pixels do not divide 6×4"):
        to_patches(images, 3)


def test_grid_decoder() -> None:
    decoder = GridDecoder(8, 2, 3, outputs=5)
    assert decoder(torch.randn(4, 8)).shape == (4, 6, 5)


def test_no_constant_is_better_than_the_best() -> None:
    targets = torch.randn(40, 3, dtype=torch.float64)
    error = constant_squared_error(targets)
    guess = targets.mean(dim=0).requires_grad_()
    loss = F.mse_loss(guess.expand_as(targets), targets)
    assert error == pytest.approx(float(loss.detach()))
    loss.backward()
    torch.testing.assert_close(guess.grad, torch.zeros(3, dtype=torch.float64))


def test_no_constant_distribution_is_better_than_the_best() -> None:
    """Found by minimising the very loss that the objectives use."""
    classes, weight = torch.randint(4, (60, 3)), torch.tensor([1.0, 2, 0.5, 3])
    logits = nn.Parameter(torch.zeros(3, 4))
    optimizer = torch.optim.LBFGS([logits], max_iter=200)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits.expand(60, -1, -1).flatten(0, 1), classes.flatten(), weight)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert constant_cross_entropy(classes, weight) == pytest.approx(
        float(closure().detach()), rel=1e-4
    )
