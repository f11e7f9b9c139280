"""The scores of runs on each task, (runs, tasks): what the statistics are computed of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lifelong_rl.analysis.runs import Run
from lifelong_rl.metrics.matrix import Curve, forward_transfer_auc, retention_per_task


def score_runs(
    runs: Sequence[Run], reference: Sequence[Curve] | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Scores by name, and for each task the scores of all runs, (runs,).

    The mean of a score over the tasks is the metric of that name in `results.json`: forgetting
    counts the last task, with 0, while retention leaves it out and forward transfer the first.
    Where tasks are few these zeros draw the interquartile mean of forgetting down, so it is to be
    compared within one sequence only.

    Args:
        runs: Of one group.
        reference: Success curve of each task learned alone; without it there is neither
            "forward_transfer_auc" nor "plasticity".
    """
    tasks = runs[0].tasks
    matrices = np.stack([run.matrix for run in runs])
    learned = np.diagonal(matrices, offset=-1, axis1=1, axis2=2)
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
        faster = [
            [_faster(*pair) for pair in zip(run.curves, reference, strict=True)] for run in runs
        ]
        alone = np.array([curve.success[-1] for curve in reference])
        scores["forward_transfer_auc"] = _by_task(tasks, np.array(faster))
        scores["plasticity"] = _by_task(tasks, learned - alone)
    return scores


def mean_curves(runs: Sequence[Run]) -> list[Curve]:
    """The success curve of each task, mean over runs, at the steps of the first run."""
    means = []
    for curves in zip(*(run.curves for run in runs), strict=True):
        steps = curves[0].steps
        success = np.mean([np.interp(steps, c.steps, c.success) for c in curves], axis=0)
        means.append(Curve(steps, tuple(success)))
    return means


def decay(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Success on each task, mean over runs, after 0, 1, 2 … tasks were learned since."""
    matrix = np.mean([run.matrix for run in runs], axis=0)
    return {task: matrix[j + 1 :, j].tolist() for j, task in enumerate(runs[0].tasks)}


def _by_task(tasks: Sequence[str], scores: np.ndarray) -> dict[str, np.ndarray]:
    return {task: scores[:, j] for j, task in enumerate(tasks)}


def _faster(curve: Curve, alone: Curve) -> float:
    """Forward transfer to one task; NaN if it cannot be learned faster than it is alone."""
    transfer = forward_transfer_auc([curve], [alone])
    return math.nan if transfer is None else transfer
