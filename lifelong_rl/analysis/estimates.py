"""Estimates with bootstrap intervals, and differences of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lifelong_rl.analysis.statistics import (
    interquartile_mean,
    mean,
    percentile_interval,
    resample,
    supports_interval,
)

STATISTICS = {"iqm": interquartile_mean, "mean": mean}


@dataclass(frozen=True)
class Estimate:
    """A value of each of `STATISTICS`, and where there were enough runs its resamples.

    Attributes:
        values: By statistic.
        samples: The same for each resample, (reps,); None if there were too few runs.
    """

    values: dict[str, float]
    samples: dict[str, np.ndarray] | None

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference of two groups of runs, which are resampled independently."""
        samples = None
        if self.samples is not None and other.samples is not None:
            samples = {name: self.samples[name] - other.samples[name] for name in STATISTICS}
        return Estimate(
            {name: self.values[name] - other.values[name] for name in STATISTICS}, samples
        )

    def as_dict(self) -> dict[str, Any]:
        """{"iqm": {"value", "low", "high"}, "mean": …}; an unknown end is None."""
        return {
            name: describe(value, None if self.samples is None else self.samples[name])
            for name, value in self.values.items()
        }


def estimate(
    scores: Mapping[str, np.ndarray], reps: int, generator: np.random.Generator
) -> Estimate | None:
    """Estimate of the scores of one group of runs; None if no score is defined.

    Args:
        scores: For each task the scores of all runs, (runs,), NaN where there is none.
        reps: Resamples; the tasks are the strata.
        generator: Decides them.
    """
    matrix = np.stack(list(scores.values()), axis=1) if scores else np.empty((0, 0))
    if np.isnan(matrix).all():
        return None
    samples = None
    if supports_interval(matrix):
        drawn = resample(matrix, reps, generator)
        samples = {name: statistic(drawn) for name, statistic in STATISTICS.items()}
    values = {name: float(statistic(matrix)) for name, statistic in STATISTICS.items()}
    return Estimate(values, samples)


def estimate_relative(
    measured: np.ndarray,
    reference: np.ndarray,
    relate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    reps: int,
    generator: np.random.Generator,
) -> Estimate | None:
    """Estimate of a score relative to the mean of other runs, which are resampled as well.

    All groups that are compared with one reference meet the same resamples of it, so that it
    cancels where two of them are subtracted.

    Args:
        measured: What is compared, (runs, tasks).
        reference: The same of the other runs, (other runs, tasks).
        relate: `measured` and the mean of `reference`, which broadcasts with it, to the score.
        reps: Resamples; the tasks are the strata.
        generator: Decides those of `measured`.
    """
    matrix = relate(measured, reference.mean(axis=0))
    if np.isnan(matrix).all():
        return None
    samples = None
    if supports_interval(matrix) and supports_interval(reference):
        alone = resample(reference, reps, np.random.default_rng(0)).mean(axis=1, keepdims=True)
        drawn = relate(resample(measured, reps, generator), alone)
        drawn = np.where(np.isnan(matrix), np.nan, drawn)
        samples = {name: statistic(drawn) for name, statistic in STATISTICS.items()}
    values = {name: float(statistic(matrix)) for name, statistic in STATISTICS.items()}
    return Estimate(values, samples)


def describe(value: float, samples: np.ndarray | None) -> dict[str, float | None]:
    """A value with the ends of its interval: {"value", "low", "high"}."""
    if samples is None:
        return {"value": value, "low": None, "high": None}
    low, high = percentile_interval(samples)
    return {"value": value, "low": float(low), "high": float(high)}
