"""How alike tables rank methods, by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from lifelong_rl.analysis.crossed import Score
from lifelong_rl.analysis.rank_agreement import (
    agree,
    check_order,
    published_table,
    write_agreement,
)

ORDER = [["packnet", "clone"], ["ewc"], ["finetune"]]


def noisy(value, spread, draw=0):
    return Score(value, value + spread * np.random.default_rng(draw).normal(size=2000))


def test_tau_is_kendalls_over_the_methods_that_both_have():
    one = published_table({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "x": 9.0})
    other = published_table({"a": 0.5, "b": 0.7, "c": 0.6, "d": 0.9, "y": 0.0})
    found = agree(one, other)
    assert found.methods == ("a", "b", "c", "d")
    assert found.tau == pytest.approx(4 / 6)  # of six pairs one is turned round
    assert found.tau == pytest.approx(stats.kendalltau([1, 2, 3, 4], [5, 7, 6, 9]).statistic)
    assert found.interval is None
    assert found.without_one == pytest.approx((1 / 3, 1.0))
    assert agree(one, published_table({"a": 1.0, "b": 2.0})) is None


def test_the_interval_is_wide_where_seeds_decide_the_rank():
    other = published_table({"a": 0.1, "b": 0.2, "c": 0.3})
    clear = agree({"a": noisy(0.1, 0.001), "b": noisy(0.5, 0.001), "c": noisy(0.9, 0.001)}, other)
    assert (clear.tau, clear.interval) == (1.0, (1.0, 1.0))
    means = {"a": 0.50, "b": 0.51, "c": 0.52}
    vague = agree({m: noisy(v, 0.1, draw) for draw, (m, v) in enumerate(means.items())}, other)
    assert vague.tau == 1.0 and vague.interval == (-1.0, 1.0)


def test_pairs_are_in_order_against_it_or_open():
    table = {
        "packnet": noisy(0.9, 0.01, 0),
        "clone": noisy(0.5, 0.1, 1),
        "ewc": noisy(0.45, 0.1, 2),
        "finetune": noisy(0.97, 0.01, 3),
    }
    found = {(one, other): told for one, other, _, told in check_order(table, ORDER)}
    assert found == {
        ("packnet", "ewc"): "in order",
        ("clone", "ewc"): "open",
        ("packnet", "finetune"): "against it",
        ("clone", "finetune"): "against it",
        ("ewc", "finetune"): "against it",
    }
    few = published_table({"packnet": 0.9, "ewc": 0.1})
    assert [told for *_, told in check_order(few, ORDER)] == ["open"]


def test_without_rows_the_page_says_so():
    published = {
        "cw20": {
            "title": "CW20",
            "source": "a paper",
            "read": "in the paper",
            "average_performance": {"packnet": 0.8, "ewc": 0.6, "finetune": 0.1},
        }
    }
    page = write_agreement([], published, ORDER)
    assert "| `arm10-sac` | CW20 | 0 | too few | – | – |" in page
    assert "There are no rows of `arm10-sac` yet" in page
    assert "- CW20: a paper; read in the paper." in page
