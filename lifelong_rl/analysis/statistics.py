"""Statistics of few runs on several tasks: pure functions of (runs, tasks) arrays of scores.

A score that is not defined is NaN (what was retained of a task that was never learned); a task
on which no run has a score is left out. Statistics take any number of leading axes, so that one
call computes them for all resamples of the bootstrap.

References:
    Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical Precipice. On
    the same matrix of numbers the results are those of the authors' library rliable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]
"""Scores, (…, runs, tasks), to one number or array of numbers for each leading index."""

LEVEL = 0.95
"""Of all intervals."""
MINIMUM_RUNS = 3
"""With fewer runs on a task an interval would tell nothing."""


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Mean of the middle half of all scores, runs and tasks together: (…, runs, tasks) to (…).

    A quarter of the scores is dropped at either end, rounded down to whole scores. The number of
    NaN must be the same for all leading indices.
    """
    pooled = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)  # NaN come last
    defined = int(np.count_nonzero(~np.isnan(pooled), axis=-1).flat[0])
    cut = defined // 4
    middle: np.ndarray = pooled[..., cut : defined - cut].mean(axis=-1)
    return middle


def mean(scores: np.ndarray) -> np.ndarray:
    """Mean over tasks of the mean over runs: (…, runs, tasks) to (…)."""
    return np.asarray(_task_means(scores).mean(axis=-1))


def median(scores: np.ndarray) -> np.ndarray:
    """Median over tasks of the mean over runs: (…, runs, tasks) to (…)."""
    return np.asarray(np.median(_task_means(scores), axis=-1))


def performance_profile(scores: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Share of the scores above each threshold: (…, runs, tasks) to (…, thresholds)."""
    pooled = scores.reshape(*scores.shape[:-2], -1)
    defined = np.count_nonzero(~np.isnan(pooled), axis=-1)
    above = [np.count_nonzero(pooled > threshold, axis=-1) for threshold in thresholds]
    return np.asarray(np.stack(above, axis=-1) / defined[..., None])


def probability_of_improvement(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Probability that a run scores higher than one of the others, mean over tasks.

    Equal scores count half: the Mann-Whitney statistic divided by the number of pairs.

    Args:
        scores: (…, runs, tasks).
        others: The same tasks, with any number of runs.
    """
    scores, others = scores[..., :, None, :], others[..., None, :, :]
    wins = (scores > others) + 0.5 * (scores == others)
    wins = np.where(np.isnan(scores) | np.isnan(others), np.nan, wins)
    return mean(wins.reshape(*wins.shape[:-3], -1, wins.shape[-1]))


def resample(scores: np.ndarray, reps: int, generator: np.random.Generator) -> np.ndarray:
    """Draw runs again with replacement, for each task on its own: (reps, runs, tasks).

    The tasks are the strata: they stay, and each keeps its number of defined scores.

    Args:
        scores: (runs, tasks).
        reps: How many resamples.
        generator: Decides what is drawn.
    """
    drawn = np.full((reps, *scores.shape), np.nan)
    for task, column in enumerate(scores.T):
        (rows,) = np.nonzero(~np.isnan(column))
        if rows.size:
            picks = generator.integers(rows.size, size=(reps, rows.size))
            drawn[:, rows, task] = column[rows][picks]
    return drawn


def percentile_interval(samples: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval that holds the middle of the samples: (reps, …) to (…) and (…)."""
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(samples, [tail, 100.0 - tail], axis=0)
    return low, high


def mean_interval(
    values: np.ndarray, reps: int, generator: np.random.Generator, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the pointwise interval of the mean over runs: (runs, points) to (points,) twice.

    Runs are drawn again whole, so that one draw serves all points of a curve.

    Args:
        values: (runs, points).
        reps: How many resamples.
        generator: Decides them.
        level: Of the interval.
    """
    drawn = _draw_counts(len(values), reps, generator) / len(values)
    return percentile_interval(drawn @ values, level)


def draw_by_task(scores: np.ndarray, reps: int, generator: np.random.Generator) -> list[np.ndarray]:
    """How often each run with a score is drawn, for each task: (reps, runs with one) float32.

    Args:
        scores: (runs, tasks).
        reps: How many resamples.
        generator: Decides them.
    """
    counts = np.count_nonzero(~np.isnan(scores), axis=0)
    return [_draw_counts(int(count), reps, generator).astype(np.float32) for count in counts]


def improvement_interval(
    scores: np.ndarray,
    others: np.ndarray,
    drawn: Sequence[np.ndarray],
    others_drawn: Sequence[np.ndarray],
    level: float = LEVEL,
) -> tuple[float, float]:
    """Ends of the interval of `probability_of_improvement`, both sides resampled by task.

    Args:
        scores: (runs, tasks).
        others: The same tasks, with any number of runs.
        drawn: Resamples of `scores`, see `draw_by_task`; one draw serves all others that they are
            set against.
        others_drawn: The same of `others`.
        level: Of the interval.
    """
    by_task = []
    for own, other, one, two in zip(scores.T, others.T, drawn, others_drawn, strict=True):
        own, other = own[~np.isnan(own)][:, None], other[~np.isnan(other)]
        if own.size and other.size:
            wins = (own > other) + np.float32(0.5) * (own == other)
            # whole and half numbers below 2^24, which float32 holds
            won = np.einsum("ij,ij->i", one @ wins.astype(np.float32), two)
            by_task.append(won / np.float64(wins.size))
    low, high = percentile_interval(np.mean(by_task, axis=0), level)
    return float(low), float(high)


def supports_interval(scores: np.ndarray) -> bool:
    """Whether each task on which (runs, tasks) holds a score holds `MINIMUM_RUNS` of them."""
    counts = np.count_nonzero(~np.isnan(scores), axis=0)
    return bool(counts.any() and counts[counts > 0].min() >= MINIMUM_RUNS)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's rho and Kendall's tau-b of paired values: (…, n) and (…, n) to (…) and (…).

    NaN where all values of x, or of y, are equal. Values that differ by less than 1e-9 count as
    equal, so that rounding decides no rank.
    """
    order_x, order_y = (np.sign(np.round(v[..., :, None] - v[..., None, :], 9)) for v in (x, y))
    # A value's rank, less the mean rank, is half the sum of its signs against all others.
    return (
        _cosine(order_x.sum(axis=-1), order_y.sum(axis=-1)),
        _cosine(*(order.reshape(*order.shape[:-2], -1) for order in (order_x, order_y))),
    )


def _draw_counts(count: int, reps: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of `count` rows is drawn, for each resample: (reps, count)."""
    picks = generator.integers(max(count, 1), size=(reps, count))
    cells = np.arange(reps)[:, None] * count + picks
    return np.bincount(cells.ravel(), minlength=reps * count).reshape(reps, count)


def _task_means(scores: np.ndarray) -> np.ndarray:
    """Mean over runs for each task that has a score: (…, runs, tasks) to (…, tasks)."""
    defined = ~np.isnan(scores)
    counts = np.count_nonzero(defined, axis=-2)
    kept = counts.reshape(-1, scores.shape[-1]).any(axis=0)
    sums = np.where(defined, scores, 0.0).sum(axis=-2)
    means: np.ndarray = sums[..., kept] / counts[..., kept]
    return means


def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    norms = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    with np.errstate(invalid="ignore"):
        return np.asarray((x * y).sum(axis=-1) / norms)
