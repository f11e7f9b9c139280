"""Metrics of continual learning: pure functions of the performance matrix and success curves.

R[i][j] is the success on task j after learning task i; row 0 is before any training, so R has
T + 1 rows and T columns. Formulae number tasks from 1 as the literature does; a column index
starts at 0, so the success right after learning column j is R[j + 1][j].

A metric that is not defined (one task only, nothing learned, no reference) is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Matrix = Sequence[Sequence[float]] | np.ndarray
LEARNED = 0.5
"""A task counts as learned from this success right after learning it."""


@dataclass(frozen=True)
class Curve:
    """Success on a task while that task is learned.

    Attributes:
        steps: Steps of this task before each evaluation, increasing, from 0 to the last step.
        success: Success at each, in [0, 1].
    """

    steps: Sequence[float]
    success: Sequence[float]

    @property
    def area(self) -> float:
        """Mean success over the steps, which is the area under the curve by its length."""
        steps = np.asarray(self.steps, dtype=float)
        return float(np.trapezoid(self.success, steps) / (steps[-1] - steps[0]))


def compute_metrics(
    matrix: Matrix, curves: Sequence[Curve], reference: Sequence[Curve] | None = None
) -> dict[str, Any]:
    """All metrics by name.

    Args:
        matrix: Performance matrix, (T + 1, T).
        curves: Success curve of each task over its own steps.
        reference: The same of each task learned alone from scratch, where that is known.
    """
    single = None if reference is None else [curve.success[-1] for curve in reference]
    return {
        "average_performance": average_performance(matrix),
        "learned_performance": learned_performance(matrix),
        "forgetting": forgetting(matrix),
        "forgetting_chaudhry": forgetting_chaudhry(matrix),
        "backward_transfer": backward_transfer(matrix),
        "forward_transfer": forward_transfer(matrix),
        "forward_transfer_auc": (
            None if reference is None else forward_transfer_auc(curves, reference)
        ),
        "retention": retention(matrix),
        "retention_per_task": retention_per_task(matrix),
        "plasticity": None if single is None else plasticity(matrix, single),
    }


def average_performance(matrix: Matrix) -> float:
    """Mean success over all tasks at the end, (1/T) Σ_j R[T][j]."""
    return float(_checked(matrix)[-1].mean())


def learned_performance(matrix: Matrix) -> float:
    """Mean success of each task right after learning it, (1/T) Σ_j R[j][j]."""
    return float(_learned(_checked(matrix)).mean())


def count_learned(matrix: Matrix) -> int:
    """How many tasks were learned: with success R[j][j] of at least `LEARNED`."""
    return int((_learned(_checked(matrix)) >= LEARNED).sum())


def backward_transfer(matrix: Matrix) -> float | None:
    """What later tasks did to earlier ones, 1/(T-1) Σ_{j<T} (R[T][j] - R[j][j]).

    References:
        Lopez-Paz and Ranzato 2017, Gradient Episodic Memory, equation 3.
    """
    r = _checked(matrix)
    return _mean((r[-1] - _learned(r))[:-1])


def forward_transfer(matrix: Matrix) -> float | None:
    """What earlier tasks did for tasks not yet begun, 1/(T-1) Σ_{j≥2} (R[j-1][j] - R[0][j]).

    References:
        Lopez-Paz and Ranzato 2017, Gradient Episodic Memory, equation 4.
    """
    r = _checked(matrix)
    return _mean((r.diagonal() - r[0])[1:])


def forgetting(matrix: Matrix) -> float:
    """Success lost since a task was learned, (1/T) Σ_j (R[j][j] - R[T][j]).

    The last task counts, with 0.

    References:
        Wolczyk et al. 2021, Continual World, section 4.2.
    """
    r = _checked(matrix)
    return float((_learned(r) - r[-1]).mean())


def forgetting_chaudhry(matrix: Matrix) -> float | None:
    """Success lost since a task was known best, 1/(T-1) Σ_{j<T} (max_{1≤i<T} R[i][j] - R[T][j]).

    References:
        Chaudhry et al. 2018, Riemannian Walk, equation 3 (row 0, before training, is no part
        of it).
    """
    r = _checked(matrix)
    if r.shape[1] == 1:
        return None
    return _mean((r[1:-1].max(axis=0) - r[-1])[:-1])


def forward_transfer_auc(curves: Sequence[Curve], reference: Sequence[Curve]) -> float | None:
    """How much faster tasks are learned than from scratch, mean_j (A_j - B_j) / (1 - B_j).

    A_j is the area under task j's success curve, B_j that of the task learned alone. Tasks with
    B_j = 1 cannot be learned faster and are left out.

    References:
        Wolczyk et al. 2021, Continual World, section 4.2.
    """
    areas = [(a.area, b.area) for a, b in zip(curves, reference, strict=True)]
    return _mean([(a - b) / (1.0 - b) for a, b in areas if b < 1.0])


def retention_per_task(matrix: Matrix) -> list[float | None]:
    """The part that is left of what was learned, R[T][j] / R[j][j]; None where R[j][j] = 0.

    The last entry is 1 by definition where it is defined; means leave it out.
    """
    r = _checked(matrix)
    return [
        float(last / learned) if learned > 0.0 else None
        for last, learned in zip(r[-1], _learned(r), strict=True)
    ]


def retention(matrix: Matrix) -> float | None:
    """Mean of `retention_per_task` over the tasks before the last that were learned at all."""
    return _mean(retention_per_task(matrix)[:-1])


def plasticity(matrix: Matrix, single_task: Sequence[float]) -> float:
    """Success when learned in the sequence less that when learned alone, mean_j (R[j][j] - b_j).

    Negative: the agent has lost some of its ability to learn.

    Args:
        matrix: Performance matrix, (T + 1, T).
        single_task: Success b_j at the end of learning task j alone from scratch, (T,).
    """
    learned = _learned(_checked(matrix))
    return float(np.mean(learned - np.asarray(single_task, dtype=float)))


def _checked(matrix: Matrix) -> np.ndarray:
    r = np.asarray(matrix, dtype=float)
    if r.ndim != 2 or r.shape[0] != r.shape[1] + 1 or r.shape[1] == 0:
        raise ValueError(f"a performance matrix is (T + 1, T) with T ≥ 1, not {r.shape}")
    return r


def _learned(r: np.ndarray) -> np.ndarray:
    return r[1:].diagonal()


def _mean(values: Iterable[float | None] | np.ndarray) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
