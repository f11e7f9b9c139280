"""Differences of few runs: Student's t, several comparisons, and what could have been found.

Pure functions, which need nothing but the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_TERMS = 10_000
"""Of the continued fraction; it needs tens."""
PRECISION = 1e-12
TINY = 1e-300


def t_tail(t: float, df: float) -> float:
    """Two-sided tail of Student's t: the probability of |T| ≥ |t| with `df` degrees of freedom."""
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(df / 2, 0.5, df / (df + t * t))


def t_quantile(probability: float, df: float) -> float:
    """The t of which Student's distribution has `probability` below, at least 0.5."""
    low, high = 0.0, 1.0
    while 1 - t_tail(high, df) / 2 < probability:
        high *= 2
    while high - low > PRECISION * high:
        middle = (low + high) / 2
        below = 1 - t_tail(middle, df) / 2 < probability
        low, high = (middle, high) if below else (low, middle)
    return high


def welch(difference: float, variances: Sequence[tuple[float, int]], shared: float = 0.0) -> float:
    """Two-sided p of a difference of means, by Welch's t with one more source of noise.

    What is shared widens the error and leaves the degrees of freedom, which are the runs': p is
    never less than Welch's.

    Args:
        difference: Of the means.
        variances: For each side the variance of a run, and the number of runs.
        shared: Variance of the difference that comes from what both sides have in common.
    """
    parts = [variance / count for variance, count in variances]
    total = sum(parts) + shared
    if total <= 0:
        return 1.0 if difference == 0 else 0.0
    freedom = [count - 1 for _, count in variances]
    spread = sum(part**2 / df for part, df in zip(parts, freedom, strict=True))
    df = sum(parts) ** 2 / spread if spread > 0 else sum(freedom)
    return t_tail(difference / math.sqrt(total), df)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for their number, by Holm's step-down method.

    References:
        Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    count = len(p_values)
    order = sorted(range(count), key=lambda k: p_values[k])
    corrected, highest = [0.0] * count, 0.0
    for rank, k in enumerate(order):
        highest = max(highest, min((count - rank) * p_values[k], 1.0))
        corrected[k] = highest
    return corrected


def detectable_difference(
    spread: float, count: int, df: float, level: float = 0.05, power: float = 0.8
) -> float:
    """The difference of two means that is found with a probability of `power`.

    Args:
        spread: Standard deviation of a run.
        count: Runs on each side.
        df: Degrees of freedom that the spread is known with.
        level: Of the two-sided test.
        power: Wanted.
    """
    quantiles = t_quantile(1 - level / 2, df) + t_quantile(power, df)
    return quantiles * spread * math.sqrt(2 / count)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b).

    By its continued fraction, evaluated as Lentz does (DLMF 8.17.22 and 8.17.23).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(x) + b * math.log1p(-x)
    ) / a  # fmt: skip
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, MOST_TERMS):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + factor * d)
            c = _away_from_zero(1 + factor / c)
            value *= c * d
        if abs(c * d - 1) < PRECISION:
            break
    return front * value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY
