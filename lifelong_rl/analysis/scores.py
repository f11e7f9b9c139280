"""The scores of runs on each task, (runs, tasks): what the statistics are computed of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lifelong_rl.analysis.runs import Run
from lifelong_rl.metrics.matrix import retention_per_task


@dataclass(frozen=True)
class RelativeScore:
    """A score that compares runs with others that learned each task alone.

    Attributes:
        measure: What is compared, of each run and task: runs to (runs, tasks).
        relate: What was measured, (…, runs, tasks), and the mean over the other runs, which
            broadcasts with it, to the score (…, runs, tasks).
    """

    measure: Callable[[Sequence[Run]], np.ndarray]
    relate: Callable[[np.ndarray, np.ndarray], np.ndarray]


def score_runs(
    runs: Sequence[Run], reference: Sequence[Run] | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Scores by name, and for each task the scores of all runs, (runs,).

    The mean of a score over the tasks is the metric of that name in `results.json`: forgetting
    counts the last task, with 0, while retention leaves it out and forward transfer the first.
    Where tasks are few these zeros draw the interquartile mean of forgetting down, so it is to be
    compared within one sequence only.

    Args:
        runs: Of one group.
        reference: Runs that learned each task alone; without them there is none of
            `RELATIVE_SCORES`.
    """
    tasks = runs[0].tasks
    matrices = np.stack([run.matrix for run in runs])
    learned = measure_learned(runs)
    before = np.diagonal(matrices, axis1=1, axis2=2)  # R[j-1][j]: just before task j is learned
    last = matrices[:, -1]
    retained = np.array([retention_per_task(run.matrix) for run in runs], dtype=float)
    scores = {
        "learned_performance": _by_task(tasks, learned),
        "average_performance": _by_task(tasks, last),
        "forgetting": _by_task(tasks, learned - last),
        "retention": _by_task(tasks[:-1], retained),
        "forward_transfer": _by_task(tasks[1:], (before - matrices[:, 0])[:, 1:]),
        "update_ratio": _by_task(tasks, np.array([run.update_ratios for run in runs])),
        "learn_seconds": _by_task(tasks, np.array([run.learn_seconds for run in runs])),
    }
    if reference is not None:
        for name, score in RELATIVE_SCORES.items():
            alone = score.measure(reference).mean(axis=0)
            scores[name] = _by_task(tasks, score.relate(score.measure(runs), alone))
    return scores


def measure_areas(runs: Sequence[Run]) -> np.ndarray:
    """Area under each task's success curve, (runs, tasks)."""
    return np.array([[curve.area for curve in run.curves] for run in runs])


def measure_learned(runs: Sequence[Run]) -> np.ndarray:
    """Success right after learning each task, (runs, tasks)."""
    return np.array([np.diagonal(run.matrix, offset=-1) for run in runs])


def transfer(areas: np.ndarray, alone: np.ndarray) -> np.ndarray:
    """Forward transfer, (A - B) / (1 - B); NaN where a task cannot be learned faster than alone.

    References:
        Wolczyk et al. 2021, Continual World, section 4.2.
    """
    room = np.where(alone < 1.0, 1.0 - alone, np.nan)
    return np.asarray((areas - alone) / room)


RELATIVE_SCORES = {
    "forward_transfer_auc": RelativeScore(measure_areas, transfer),
    "plasticity": RelativeScore(measure_learned, np.subtract),
}


def decay(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Success on each task, mean over runs, after 0, 1, 2 … tasks were learned since."""
    matrix = np.mean([run.matrix for run in runs], axis=0)
    return {task: matrix[j + 1 :, j].tolist() for j, task in enumerate(runs[0].tasks)}


def _by_task(tasks: Sequence[str], scores: np.ndarray) -> dict[str, np.ndarray]:
    return {task: scores[:, j] for j, task in enumerate(tasks)}
