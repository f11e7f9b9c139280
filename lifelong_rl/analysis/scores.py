"""The scores of runs on each task, (runs, tasks): what the statistics are computed of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lifelong_rl.analysis.runs import Run
from lifelong_rl.metrics.matrix import learning_rows, retention_per_task


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
    compared within one sequence only. What needs success in [0, 1] is left out where returns are
    measured.

    Args:
        runs: Of one group.
        reference: Runs that learned each task alone; without them there is none of
            `RELATIVE_SCORES`.
    """
    tasks, phases = runs[0].tasks, runs[0].phases
    columns = np.arange(len(tasks))
    first, last_learned = learning_rows(len(tasks), phases)
    matrices = np.stack([run.matrix for run in runs])
    learned = matrices[:, last_learned, columns]
    before = matrices[:, first - 1, columns]  # just before the task is learned
    last = matrices[:, -1]
    of_phase = np.array([run.update_ratios for run in runs])
    scores = {
        "learned_performance": _by_task(tasks, learned),
        "average_performance": _by_task(tasks, last),
        "forgetting": _by_task(tasks, learned - last),
        "forward_transfer": _by_task(tasks, before - matrices[:, 0], first > 1),
        "update_ratio": _by_task(tasks, of_phase[:, first - 1]),
        "learn_seconds": _by_task(tasks, measure_seconds(runs)),
    }
    if "return" in runs[0].measures:
        return scores
    retained = np.array([retention_per_task(run.matrix, phases) for run in runs], dtype=float)
    scores["retention"] = _by_task(tasks, retained, last_learned < len(phases))
    if reference is not None:
        for name, score in RELATIVE_SCORES.items():
            alone = score.measure(reference).mean(axis=0)
            scores[name] = _by_task(tasks, score.relate(score.measure(runs), alone))
    return scores


def measure_areas(runs: Sequence[Run]) -> np.ndarray:
    """Area under each task's success curve when it is first learned, (runs, tasks)."""
    first, _ = learning_rows(len(runs[0].tasks), runs[0].phases)
    return np.array([[run.curves[row - 1].area for row in first] for run in runs])


def measure_learned(runs: Sequence[Run]) -> np.ndarray:
    """Success right after first learning each task, (runs, tasks)."""
    first, _ = learning_rows(len(runs[0].tasks), runs[0].phases)
    return np.array([run.matrix[first, np.arange(len(first))] for run in runs])


def measure_seconds(runs: Sequence[Run]) -> np.ndarray:
    """Time spent learning each task, (runs, tasks); tasks that are learned together share it."""
    shares = np.zeros((len(runs[0].phases), len(runs[0].tasks)))
    for phase, tasks in enumerate(runs[0].phases):
        shares[phase, list(tasks)] = 1 / len(tasks)
    found: np.ndarray = np.array([run.learn_seconds for run in runs]) @ shares
    return found


def forgettable(run: Run) -> list[str]:
    """The tasks that were not learned in the last phase."""
    _, last = learning_rows(len(run.tasks), run.phases)
    return [task for task, row in zip(run.tasks, last, strict=True) if row < len(run.phases)]


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
    """Success on each task, mean over runs, after 0, 1, 2 … phases were learned since."""
    matrix = np.mean([run.matrix for run in runs], axis=0)
    _, last = learning_rows(len(runs[0].tasks), runs[0].phases)
    return {task: matrix[last[j] :, j].tolist() for j, task in enumerate(runs[0].tasks)}


def _by_task(
    tasks: Sequence[str], scores: np.ndarray, which: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    return {task: scores[:, j] for j, task in enumerate(tasks) if which is None or which[j]}
