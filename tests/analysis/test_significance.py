"""Student's t and what is made of it, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats

from lifelong_rl.analysis.significance import (
    detectable_difference,
    holm,
    t_quantile,
    t_tail,
    welch,
)


@pytest.mark.parametrize("df", [1, 2.5, 8, 60, 1e6])
def test_students_t_is_scipys(df):
    for t in (0.0, 1e-3, 0.7, 2.0, 9.0, 40.0, -2.0):
        assert t_tail(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-8, abs=1e-300)
    for probability in (0.5, 0.8, 0.975, 0.9999):
        assert t_quantile(probability, df) == pytest.approx(
            stats.t.ppf(probability, df), rel=1e-8, abs=1e-9
        )


def test_welch_is_scipys_where_nothing_is_shared():
    generator = np.random.default_rng(0)
    for n, m, shift in ((5, 5, 0.0), (5, 10, 0.3), (2, 3, 1.0)):
        x, y = generator.normal(size=n), generator.normal(shift, 3.0, size=m)
        found = welch(x.mean() - y.mean(), [(x.var(ddof=1), n), (y.var(ddof=1), m)])
        assert found == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue, rel=1e-8)


def test_what_is_shared_adds_to_the_noise():
    runs = [(0.01, 5), (0.01, 5)]
    assert welch(0.2, runs) < welch(0.2, runs, 0.001) < welch(0.2, runs, 0.1)
    assert welch(0.2, runs, 0.004) == pytest.approx(2 * stats.t.sf(0.2 / 0.008**0.5, 8))
    assert welch(0.2, [(0.0, 5), (0.0, 5)], 0.01) == pytest.approx(2 * stats.t.sf(2.0, 8))
    assert welch(0.0, [(0.0, 5), (0.0, 5)]) == 1.0
    assert welch(0.1, [(0.0, 5), (0.0, 5)]) == 0.0


def test_holm_by_hand():
    """Sorted .01, .02, .03, .04 times 4, 3, 2, 1 are .04, .06, .06, .04; and none is less."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_five_seeds_find_what_is_said_as_often_as_is_said():
    """A difference of that size is found in four of five experiments."""
    count, generator = 5, np.random.default_rng(0)
    size = detectable_difference(1.0, count, df=2 * count - 2)
    x = generator.normal(size=(20_000, count))
    y = generator.normal(size, size=(20_000, count))
    found = (stats.ttest_ind(x, y, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.03)
    assert detectable_difference(1.0, 10, df=8) == pytest.approx(size / np.sqrt(2))
