"""Statistics against values computed by hand, and against rliable and SciPy."""

import numpy as np
import pytest
from scipy import stats

from lifelong_rl.analysis.statistics import (
    draw_by_task,
    improvement_interval,
    interquartile_mean,
    mean,
    mean_interval,
    median,
    percentile_interval,
    performance_profile,
    probability_of_improvement,
    rank_correlation,
    resample,
    supports_interval,
)

NAN = np.nan
SCORES = np.random.default_rng(1).gamma(2.0, size=(5, 7))


def test_interquartile_mean_drops_a_quarter_at_either_end():
    assert interquartile_mean(np.array([[9.0, 1.0, 5.0, 3.0], [7.0, 2.0, 100.0, -50.0]])) == 17 / 4
    six = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 50.0]])
    assert interquartile_mean(six) == (1 + 2 + 3 + 4) / 4  # 1.5 scores at either end: one


def test_undefined_scores_are_as_if_they_were_not_there():
    with_gaps = np.array([[1.0, NAN, 4.0], [2.0, NAN, NAN], [3.0, NAN, 40.0]])
    assert interquartile_mean(with_gaps) == (2 + 3 + 4) / 3
    assert mean(with_gaps) == (2 + 22) / 2
    assert median(np.hstack([with_gaps, [[3.0], [5.0], [4.0]]])) == 4


def test_statistics_take_leading_axes():
    drawn = resample(SCORES, 50, np.random.default_rng(0))
    for statistic in (interquartile_mean, mean, median):
        np.testing.assert_allclose(statistic(drawn), [statistic(one) for one in drawn], rtol=1e-14)
    thresholds = [0.5, 1.0, 2.0]
    np.testing.assert_array_equal(
        performance_profile(drawn, thresholds),
        [performance_profile(one, thresholds) for one in drawn],
    )


def test_performance_profile():
    scores = np.array([[0.1, 0.5], [0.9, NAN]])
    np.testing.assert_allclose(
        performance_profile(scores, [0.0, 0.1, 0.5, 1.0]), [1, 2 / 3, 1 / 3, 0]
    )


def test_probability_of_improvement_counts_equal_scores_half():
    ones = np.array([[1.0, 0.0], [3.0, 2.0]])
    others = np.array([[2.0, 2.0], [3.0, 2.0], [0.0, NAN]])
    # First task: 1 beats 0; 3 beats 2 and 0 and equals 3. Second: 2 equals 2 twice of four pairs.
    assert probability_of_improvement(ones, others) == pytest.approx((3.5 / 6 + 1 / 4) / 2)
    assert probability_of_improvement(ones, ones) == 0.5


def test_resampling_stays_within_a_task_and_keeps_what_is_undefined():
    scores = np.array([[1.0, 10.0, NAN], [2.0, NAN, NAN], [3.0, 30.0, NAN]])
    drawn = resample(scores, 6000, np.random.default_rng(0))
    assert np.array_equal(np.isnan(drawn), np.broadcast_to(np.isnan(scores), drawn.shape))
    assert set(np.unique(drawn[:, :, 0])) == {1.0, 2.0, 3.0}
    assert set(np.unique(drawn[:, [0, 2], 1])) == {10.0, 30.0}
    # Tasks are drawn apart: in a third of the resamples would equal runs mean equal tasks.
    same_run = (drawn[:, 0, 0] == 1.0) == (drawn[:, 0, 1] == 10.0)
    assert same_run.mean() == pytest.approx(0.5, abs=0.03)
    again = resample(scores, 6000, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, again)


def test_the_interval_of_a_coin_is_that_of_the_binomial_distribution():
    coin = np.array([[0.0], [1.0]] * 5)
    samples = mean(resample(coin, 4000, np.random.default_rng(0)))
    low, high = percentile_interval(samples)
    expected = stats.binom(10, 0.5).ppf([0.025, 0.975]) / 10
    assert (low, high) == (pytest.approx(expected[0]), pytest.approx(expected[1]))
    low, high = percentile_interval(samples, level=0.5)
    assert (low, high) == (pytest.approx(0.4), pytest.approx(0.6))


def test_an_interval_needs_three_scores_on_each_task():
    assert supports_interval(np.zeros((3, 2)))
    assert not supports_interval(np.zeros((2, 20)))
    assert not supports_interval(np.array([[1.0, 1.0], [1.0, 1.0], [1.0, NAN]]))
    assert supports_interval(np.array([[1.0, NAN], [1.0, NAN], [1.0, NAN]]))
    assert not supports_interval(np.full((5, 2), NAN))


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlations_equal_scipys(ties):
    generator = np.random.default_rng(0)
    for _ in range(20):
        x, y = generator.normal(size=(2, 9))
        if ties:
            x, y = np.round(x), np.round(x + y)
        rho, tau = rank_correlation(x, y)
        assert rho == pytest.approx(stats.spearmanr(x, y).statistic)
        assert tau == pytest.approx(stats.kendalltau(x, y).statistic)


def test_rank_correlations_of_many_resamples_at_once():
    x, y = np.random.default_rng(0).normal(size=(2, 30, 5))
    rho, tau = rank_correlation(x, y)
    np.testing.assert_allclose(rho, [rank_correlation(*pair)[0] for pair in zip(x, y, strict=True)])
    np.testing.assert_allclose(tau, [rank_correlation(*pair)[1] for pair in zip(x, y, strict=True)])


def test_rounding_decides_no_rank_and_equal_values_have_none():
    x = np.array([0.1 + 0.2, 0.3, 1.0])
    assert rank_correlation(x, np.array([2.0, 1.0, 3.0])) == rank_correlation(
        np.array([0.3, 0.3, 1.0]), np.array([2.0, 1.0, 3.0])
    )
    assert all(np.isnan(rank_correlation(np.zeros(4), np.arange(4.0))))


class TestAgainstRliable:
    """The same numbers as the library of the paper's authors, on the same matrix."""

    @pytest.fixture(autouse=True)
    def rliable(self):
        self.library = pytest.importorskip("rliable.library", reason="rliable is not installed")
        self.metrics = pytest.importorskip("rliable.metrics")

    def test_point_estimates(self):
        for shape in [(3, 3), (5, 7), (10, 1), (2, 20), (5, 10)]:
            scores = np.random.default_rng(sum(shape)).normal(size=shape)
            for ours, theirs in [
                (interquartile_mean, self.metrics.aggregate_iqm),
                (mean, self.metrics.aggregate_mean),
                (median, self.metrics.aggregate_median),
            ]:
                assert float(ours(scores)) == pytest.approx(float(theirs(scores)), rel=1e-13)

    def test_probability_of_improvement(self):
        others = np.round(np.random.default_rng(2).gamma(2.5, size=(4, 7)), 1)
        scores = np.round(SCORES, 1)
        expected = self.metrics.probability_of_improvement(scores, others)
        assert float(probability_of_improvement(scores, others)) == pytest.approx(expected)

    @pytest.mark.parametrize("name", ["aggregate_iqm", "aggregate_mean", "aggregate_median"])
    def test_intervals_are_the_same_from_the_same_resamples(self, name):
        ours = {
            "aggregate_iqm": interquartile_mean,
            "aggregate_mean": mean,
            "aggregate_median": median,
        }[name]
        reps = 400
        np.random.seed(3)  # noqa: NPY002 - rliable draws from NumPy's global state
        _, theirs = self.library.get_interval_estimates(
            {"x": SCORES}, lambda x: np.array([getattr(self.metrics, name)(x)]), reps=reps
        )
        state = np.random.RandomState(3)
        tasks = np.arange(SCORES.shape[1])
        drawn = np.stack(
            [SCORES[state.choice(len(SCORES), SCORES.shape), tasks] for _ in range(reps)]
        )
        np.testing.assert_allclose(percentile_interval(ours(drawn)), theirs["x"][:, 0], rtol=1e-12)

    def test_intervals_agree_from_resamples_of_our_own(self):
        np.random.seed(0)  # noqa: NPY002
        _, theirs = self.library.get_interval_estimates(
            {"x": SCORES}, lambda x: np.array([self.metrics.aggregate_iqm(x)]), reps=4000
        )
        ours = percentile_interval(
            interquartile_mean(resample(SCORES, 4000, np.random.default_rng(0)))
        )
        width = theirs["x"][1, 0] - theirs["x"][0, 0]
        np.testing.assert_allclose(ours, theirs["x"][:, 0], atol=0.05 * width)

    def test_performance_profiles(self):
        thresholds = np.linspace(0, 5, 11)
        np.random.seed(0)  # noqa: NPY002
        theirs, intervals = self.library.create_performance_profile(
            {"x": SCORES}, thresholds, reps=2000
        )
        np.testing.assert_allclose(performance_profile(SCORES, thresholds), theirs["x"])
        drawn = resample(SCORES, 2000, np.random.default_rng(0))
        ours = percentile_interval(performance_profile(drawn, thresholds))
        np.testing.assert_allclose(ours, intervals["x"], atol=2 / SCORES.size)


def test_the_interval_of_a_mean_is_that_of_whole_runs():
    values = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    low, high = mean_interval(values, 4000, np.random.default_rng(0))
    # a mean of 3 draws of which 2/3 are 1: all 0 with 1/27, all 1 with 8/27
    np.testing.assert_allclose(low, [0.0, 0.0])
    np.testing.assert_allclose(high, [1.0, 1.0])
    # the columns add to 1 in every run, so the ends of their intervals do
    low, high = mean_interval(values, 4000, np.random.default_rng(0), level=0.5)
    np.testing.assert_allclose(low + high[::-1], 1.0)


def test_the_interval_of_improvement_is_that_of_the_plain_bootstrap():
    generator = np.random.default_rng(1)
    scores = generator.uniform(size=(6, 3)).round(1)
    others = generator.uniform(size=(5, 3)).round(1) - 0.1
    scores[0, 1] = np.nan
    plain = probability_of_improvement(
        resample(scores, 20_000, generator), resample(others, 20_000, generator)
    )
    expected = percentile_interval(plain)
    drawn = [draw_by_task(side, 20_000, generator) for side in (scores, others)]
    found = improvement_interval(scores, others, *drawn)
    np.testing.assert_allclose(found, expected, atol=0.01)
    same = np.zeros((3, 2))
    drawn = [draw_by_task(same, 10, generator) for _ in range(2)]
    assert improvement_interval(same, same, *drawn) == (0.5, 0.5)
