"""Scores of runs on episodes that start alike, and resamples of both: seeds × starts.

All runs of a protocol are evaluated from the same starts, so the noise of these is in all of them
alike, and more seeds do not average it out. A resample draws runs with replacement, and for each
task starts with replacement, the same ones for all runs and rows. Arrays are (runs, tasks,
episodes) of successes, or (runs, tasks) of what is measured otherwise.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from lifelong_rl.analysis.statistics import MINIMUM_RUNS, percentile_interval

REPS = 4000
"""Resamples of each row."""
STARTS_SEED = 0
"""Decides which starts are drawn: the same ones for all rows of a track."""


@dataclass(frozen=True, eq=False)
class Score:
    """A mean over runs, tasks and episodes.

    Attributes:
        value: The mean.
        samples: The same of each resample, (reps,); None where there are too few runs.
    """

    value: float
    samples: np.ndarray | None

    def __sub__(self, other: Score) -> Score:
        """The difference, from the same starts and from other seeds."""
        samples = None
        if self.samples is not None and other.samples is not None:
            samples = self.samples - other.samples
        return Score(self.value - other.value, samples)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Ends of the 95 % interval."""
        if self.samples is None:
            return None
        low, high = percentile_interval(self.samples)
        return float(low), float(high)


class Draws:
    """Resamples of the runs of a row and of the starts of its track.

    Args:
        name: Of the row; rows of other names have other runs drawn.
        shape: Runs, tasks and episodes.
        reps: How many.
    """

    def __init__(self, name: str, shape: tuple[int, int, int], reps: int = REPS) -> None:
        runs, tasks, episodes = shape
        own = np.random.default_rng([1, zlib.crc32(name.encode())])
        shared = np.random.default_rng(STARTS_SEED)
        picked = own.integers(runs, size=(reps, runs))
        self.runs = _count(picked, runs) / runs
        starts = shared.integers(episodes, size=(reps, tasks, episodes))
        self.starts = _count(starts, episodes) / episodes
        self.enough = runs >= MINIMUM_RUNS

    def score(self, episodes: np.ndarray) -> Score:
        """The mean of successes, or of differences of such: (runs, tasks, episodes)."""
        by_run = np.einsum("ste,rte->rs", episodes.astype(float), self.starts, optimize=True)
        samples = (by_run * self.runs).sum(axis=1) / episodes.shape[1]
        return Score(float(episodes.mean()), samples if self.enough else None)


def transfer(areas: np.ndarray, draws: Draws, reference: np.ndarray, of_reference: Draws) -> Score:
    """Forward transfer against tasks learned alone, mean_j (A_j - B_j) / (1 - B_j).

    Args:
        areas: Mean success on each task while it is learned, (runs, tasks).
        draws: Of these runs.
        reference: The same of the tasks learned alone, (runs, tasks), below 1.
        of_reference: Of those runs.

    References:
        Wolczyk et al. 2021, Continual World, section 4.2.
    """
    alone = reference.mean(axis=0)
    value = ((areas.mean(axis=0) - alone) / (1.0 - alone)).mean()
    base = of_reference.runs @ reference
    samples = ((draws.runs @ areas - base) / (1.0 - base)).mean(axis=-1)
    return Score(float(value), samples if draws.enough and of_reference.enough else None)


def variance_of_starts(episodes: np.ndarray, others: np.ndarray) -> float:
    """Variance of the difference of two means that comes from the starts that both have.

    Args:
        episodes: Successes, (runs, tasks, episodes).
        others: The same of other runs.
    """
    differences = episodes.mean(axis=0) - others.mean(axis=0)
    tasks, count = differences.shape
    return float(differences.var(axis=1, ddof=1).sum() / count / tasks**2)


def _count(picks: np.ndarray, number: int) -> np.ndarray:
    """How often each of `number` was picked: (…, n) to (…, number)."""
    flat = picks.reshape(-1, picks.shape[-1])
    cells = np.arange(len(flat))[:, None] * number + flat
    counts = np.bincount(cells.ravel(), minlength=len(flat) * number)
    return counts.reshape(*picks.shape[:-1], number)
