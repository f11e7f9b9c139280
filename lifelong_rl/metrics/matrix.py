"""Metrics of continual learning: pure functions of the performance matrix and success curves.

R[i][j] is the success on task j after phase i of learning; row 0 is before any training. Where
each task is learned once, one after another, there are as many phases as tasks, so R has T + 1 rows
and T columns, and task j is learned in phase j. In a stream a phase may learn a task again, or
several at once: R then has P + 1 rows, and `phases` says which columns each phase learned. With
f_j the first phase of task j and l_j the last, "right after learning it" is row l_j, and "just
before" is row f_j - 1. Formulae number tasks and phases from 1 as the literature does; columns are
counted from 0.

What is said of success holds for scores, which are returns mapped to [0, 1], and, where a metric
does not need the bounds, for returns.

A metric that is not defined (one task only, nothing learned, no reference) is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Matrix = Sequence[Sequence[float]] | np.ndarray
Phases = Sequence[Sequence[int]]
"""The columns that each phase learns; None stands for one task a phase, in their order."""
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
    matrix: Matrix,
    curves: Sequence[Curve],
    reference: Sequence[Curve] | None = None,
    phases: Phases | None = None,
    *,
    bounded: bool = True,
) -> dict[str, Any]:
    """All metrics by name.

    Args:
        matrix: Performance matrix, (P + 1, T).
        curves: Success curve of each phase over its own steps.
        reference: The same of each task learned alone from scratch, where that is known.
        phases: What each phase learned.
        bounded: Whether the entries lie in [0, 1]; metrics that need it are None otherwise.
    """
    single = None if reference is None else [curve.success[-1] for curve in reference]
    r, first, _ = _read(matrix, phases)
    transfer = None
    if reference is not None and bounded:
        transfer = forward_transfer_auc([curves[row - 1] for row in first], reference)
    return {
        "average_performance": average_performance(matrix, phases),
        "learned_performance": learned_performance(matrix, phases),
        "forgetting": forgetting(matrix, phases),
        "forgetting_chaudhry": forgetting_chaudhry(matrix, phases),
        "backward_transfer": backward_transfer(matrix, phases),
        "forward_transfer": forward_transfer(matrix, phases),
        "forward_transfer_auc": transfer,
        "retention": retention(matrix, phases) if bounded else None,
        "retention_per_task": (
            retention_per_task(matrix, phases) if bounded else [None] * r.shape[1]
        ),
        "plasticity": None if single is None else plasticity(matrix, single, phases),
    }


def average_performance(matrix: Matrix, phases: Phases | None = None) -> float:
    """Mean success over all tasks at the end, (1/T) Σ_j R[P][j]."""
    return float(_read(matrix, phases)[0][-1].mean())


def learned_performance(matrix: Matrix, phases: Phases | None = None) -> float:
    """Mean success of each task right after learning it, (1/T) Σ_j R[l_j][j]."""
    return float(learned(matrix, phases).mean())


def learned(matrix: Matrix, phases: Phases | None = None) -> np.ndarray:
    """Success on each task right after it was learned, last, R[l_j][j], (T,)."""
    r, _, last = _read(matrix, phases)
    return _pick(r, last)


def count_learned(matrix: Matrix, phases: Phases | None = None) -> int:
    """How many tasks were learned: with success R[l_j][j] of at least `LEARNED`."""
    return int((learned(matrix, phases) >= LEARNED).sum())


def backward_transfer(matrix: Matrix, phases: Phases | None = None) -> float | None:
    """What later phases did to earlier tasks, the mean over l_j < P of R[P][j] - R[l_j][j].

    References:
        Lopez-Paz and Ranzato 2017, Gradient Episodic Memory, equation 3.
    """
    r, _, last = _read(matrix, phases)
    return _mean((r[-1] - _pick(r, last))[last < len(r) - 1])


def forward_transfer(matrix: Matrix, phases: Phases | None = None) -> float | None:
    """What earlier phases did for tasks not yet begun, the mean over f_j > 1.

    Of R[f_j - 1][j] - R[0][j].

    References:
        Lopez-Paz and Ranzato 2017, Gradient Episodic Memory, equation 4.
    """
    r, first, _ = _read(matrix, phases)
    return _mean((_pick(r, first - 1) - r[0])[first > 1])


def forgetting(matrix: Matrix, phases: Phases | None = None) -> float:
    """Success lost since a task was learned, (1/T) Σ_j (R[l_j][j] - R[P][j]).

    The last task counts, with 0.

    References:
        Wolczyk et al. 2021, Continual World, section 4.2.
    """
    return float((learned(matrix, phases) - np.asarray(matrix, dtype=float)[-1]).mean())


def forgetting_chaudhry(matrix: Matrix, phases: Phases | None = None) -> float | None:
    """Success lost since a task was known best, the mean over l_j < P.

    Of max_{1≤i<P} R[i][j] - R[P][j].

    References:
        Chaudhry et al. 2018, Riemannian Walk, equation 3 (row 0, before training, is no part
        of it).
    """
    r, _, last = _read(matrix, phases)
    earlier = last < len(r) - 1
    if not earlier.any():
        return None
    return _mean((r[1:-1].max(axis=0) - r[-1])[earlier])


def forward_transfer_auc(curves: Sequence[Curve], reference: Sequence[Curve]) -> float | None:
    """How much faster tasks are learned than from scratch, mean_j (A_j - B_j) / (1 - B_j).

    A_j is the area under task j's success curve, B_j that of the task learned alone. Tasks with
    B_j = 1 cannot be learned faster and are left out.

    References:
        Wolczyk et al. 2021, Continual World, section 4.2.
    """
    areas = [(a.area, b.area) for a, b in zip(curves, reference, strict=True)]
    return _mean([(a - b) / (1.0 - b) for a, b in areas if b < 1.0])


def retention_per_task(matrix: Matrix, phases: Phases | None = None) -> list[float | None]:
    """The part that is left of what was learned, R[P][j] / R[l_j][j]; None where that is 0.

    It is 1 by definition for what the last phase learned, where it is defined; means leave it out.
    """
    last_row = np.asarray(matrix, dtype=float)[-1]
    return [
        float(last / then) if then > 0.0 else None
        for last, then in zip(last_row, learned(matrix, phases), strict=True)
    ]


def count_kept(matrix: Matrix, phases: Phases | None = None) -> int:
    """How many tasks `retention` is a mean over."""
    r, _, last = _read(matrix, phases)
    each = retention_per_task(matrix, phases)
    return sum(v is not None and row < len(r) - 1 for v, row in zip(each, last, strict=True))


def retention(matrix: Matrix, phases: Phases | None = None) -> float | None:
    """Mean of `retention_per_task` over the tasks with l_j < P that were learned at all."""
    r, _, last = _read(matrix, phases)
    each = retention_per_task(matrix, phases)
    return _mean(value for value, row in zip(each, last, strict=True) if row < len(r) - 1)


def plasticity(matrix: Matrix, single_task: Sequence[float], phases: Phases | None = None) -> float:
    """Success when first learned in the sequence less that alone, mean_j (R[f_j][j] - b_j).

    Negative: the agent has lost some of its ability to learn.

    Args:
        matrix: Performance matrix, (P + 1, T).
        single_task: Success b_j at the end of learning task j alone from scratch, (T,).
        phases: What each phase learned.
    """
    r, first, _ = _read(matrix, phases)
    return float(np.mean(_pick(r, first) - np.asarray(single_task, dtype=float)))


def learning_rows(num_tasks: int, phases: Phases | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The rows right after each task was first and last learned, f_j and l_j, (T,) each.

    Raises:
        ValueError: A phase learns nothing, or a task is never learned.
    """
    if phases is None:
        rows = np.arange(1, num_tasks + 1)
        return rows, rows
    first, last = np.zeros(num_tasks, dtype=int), np.zeros(num_tasks, dtype=int)
    for row, tasks in enumerate(phases, 1):
        if not tasks or not set(tasks) <= set(range(num_tasks)):
            raise ValueError(f"phase {row} learns the tasks {list(tasks)} of {num_tasks}")
        for j in tasks:
            first[j], last[j] = first[j] or row, row
    if not first.all():
        raise ValueError(f"task {int(np.flatnonzero(first == 0)[0]) + 1} is never learned")
    return first, last


def _read(matrix: Matrix, phases: Phases | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrix as an array, and its `learning_rows`."""
    r = np.asarray(matrix, dtype=float)
    rows = "T" if phases is None else str(len(phases))
    if r.ndim != 2 or not r.shape[1] or len(r) != len(phases or r[0]) + 1:
        raise ValueError(f"a performance matrix is ({rows} + 1, T) with T ≥ 1, not {r.shape}")
    return (r, *learning_rows(r.shape[1], phases))


def _pick(r: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The entry of each column in a row of its own, (T,)."""
    found: np.ndarray = r[rows, np.arange(r.shape[1])]
    return found


def _mean(values: Iterable[float | None] | np.ndarray) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
