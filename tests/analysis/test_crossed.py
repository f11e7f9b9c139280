"""Resamples of seeds × starts."""

import numpy as np
import pytest
from scipy import stats

from lifelong_rl.analysis.crossed import Draws, transfer, variance_of_starts

SHAPE = (4, 3, 50)


def test_a_resample_draws_runs_whole_and_the_same_starts_for_all_of_them():
    """By hand: each run and each start as often as it was drawn."""
    episodes = np.random.default_rng(0).random(SHAPE) < 0.5
    draws = Draws("a", SHAPE, reps=7)
    found = draws.score(episodes)
    for rep in range(7):
        runs = np.repeat(np.arange(4), np.rint(4 * draws.runs[rep]).astype(int))
        assert len(runs) == 4
        drawn = []
        for task in range(3):
            counts = np.rint(50 * draws.starts[rep, task]).astype(int)
            starts = np.repeat(np.arange(50), counts)
            assert len(starts) == 50
            drawn.append(episodes[runs][:, task, starts].mean())
        assert found.samples[rep] == pytest.approx(np.mean(drawn))
    assert found.value == episodes.mean()


def test_the_interval_has_the_noise_of_the_starts_where_seeds_agree():
    """Seeds that all do alike have no noise of their own; 150 starts have that of a binomial."""
    one = np.random.default_rng(0).random((1, *SHAPE[1:])) < 0.5
    episodes = np.repeat(one, 4, axis=0)
    found = Draws("a", SHAPE).score(episodes)
    within = np.sqrt((one.mean(axis=-1) * (1 - one.mean(axis=-1)) / 50).sum()) / 3
    assert found.samples.std() == pytest.approx(within, rel=0.05)
    low, high = found.interval
    assert high - low == pytest.approx(2 * 1.96 * within, rel=0.1)


def test_the_interval_has_the_noise_of_the_seeds_where_starts_do_not_matter():
    episodes = np.zeros(SHAPE, bool)
    episodes[:2] = True
    found = Draws("a", SHAPE).score(episodes)
    assert found.samples.std() == pytest.approx(0.5 / np.sqrt(4), rel=0.05)


@pytest.mark.parametrize("of_seeds, least, most", [(0.05, 0.93, 1.0), (0.5, 0.82, 0.93)])
def test_how_often_an_interval_of_five_seeds_has_the_true_mean(of_seeds, least, most):
    """More often where seeds differ little, less often where they differ much: docs/protocol.md.

    An episode succeeds where the sum of a seed, a start and chance is positive, all normal, so the
    true mean is known.
    """
    generator, shape, spreads = np.random.default_rng(0), (5, 10, 50), (of_seeds, 0.5, 1.0)
    true = stats.norm.cdf(0.3 / np.linalg.norm(spreads))
    covered = 0
    for experiment in range(200):
        parts = [(5, 1, 1), (1, 10, 50), shape]
        sums = sum(s * generator.normal(size=p) for s, p in zip(spreads, parts, strict=True))
        low, high = Draws(str(experiment), shape, reps=200).score(0.3 + sums > 0).interval
        covered += low <= true <= high
    assert least < covered / 200 < most


def test_rows_share_starts_and_not_seeds():
    one = np.random.default_rng(0).random((1, *SHAPE[1:])) < 0.5
    episodes = np.repeat(one, 4, axis=0)
    difference = Draws("a", SHAPE).score(episodes) - Draws("b", SHAPE).score(episodes)
    assert np.abs(difference.samples).max() < 1e-12
    uneven = np.zeros(SHAPE, bool)
    uneven[:2] = True
    difference = Draws("a", SHAPE).score(uneven) - Draws("b", SHAPE).score(uneven)
    assert difference.samples.std() == pytest.approx(0.5 * np.sqrt(2 / 4), rel=0.05)


def test_too_few_seeds_have_no_interval():
    few = Draws("a", (2, *SHAPE[1:])).score(np.ones((2, *SHAPE[1:]), bool))
    assert (few.value, few.interval) == (1.0, None)
    assert (few - few).interval is None


def test_transfer_is_continual_worlds():
    areas = np.array([[0.6, 0.4], [0.8, 0.4], [0.7, 0.4]])
    alone = np.array([[0.5, 0.2], [0.5, 0.4], [0.5, 0.3]])
    draws = [Draws(name, (3, 2, 5)) for name in "ab"]
    found = transfer(areas, draws[0], alone, draws[1])
    assert found.value == pytest.approx((0.2 / 0.5 + 0.1 / 0.7) / 2)
    low, high = found.interval
    assert low < found.value < high
    assert transfer(alone, draws[0], alone, draws[0]).interval == pytest.approx((0, 0), abs=1e-12)


def test_the_variance_that_is_shared_is_that_of_drawing_starts():
    generator = np.random.default_rng(0)
    a, b = generator.random(SHAPE) < 0.8, generator.random(SHAPE) < 0.3
    draws = Draws("a", SHAPE, reps=20_000)
    difference = (a.mean(axis=0) - b.mean(axis=0))[None]
    samples = (difference * draws.starts).sum(axis=-1).mean(axis=-1)
    assert variance_of_starts(a, b) == pytest.approx(samples.var() * 50 / 49, rel=0.05)
    assert variance_of_starts(a, a) == 0
