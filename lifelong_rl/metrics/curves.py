"""Success on each task over a whole sequence, of the performance matrix and the success curves."""

from __future__ import annotations

from collections.abc import Sequence

from lifelong_rl.metrics.matrix import Curve, Matrix


def success_over_sequence(
    matrix: Matrix, curves: Sequence[Curve], steps_per_task: int
) -> list[Curve]:
    """Success on each task before, while and after it is learned, by step of the sequence.

    Args:
        matrix: The rows of the performance matrix so far: before training, and after each of the
            tasks that were learned.
        curves: Success on each of these tasks over its own steps.
        steps_per_task: How long each was learned.

    Returns:
        A curve for each column of the matrix. That of a task not yet begun has a point for each
        row; the others have those of their own curve in place of the two rows at its ends.
    """
    found = []
    for j in range(len(matrix[0])):
        points = [(float(i * steps_per_task), float(row[j])) for i, row in enumerate(matrix)]
        if j < len(curves):
            own = zip(curves[j].steps, curves[j].success, strict=True)
            points[j : j + 2] = [
                (float(j * steps_per_task + step), success) for step, success in own
            ]
        found.append(Curve(*zip(*points, strict=True)))
    return found
