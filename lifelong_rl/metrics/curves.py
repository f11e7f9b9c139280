"""Success on each task over a whole sequence, of the performance matrix and the success curves."""

from __future__ import annotations

from collections.abc import Sequence

from lifelong_rl.metrics.matrix import Curve, Matrix, Phases


def success_over_sequence(
    matrix: Matrix,
    curves: Sequence[Curve],
    starts: Sequence[float],
    phases: Phases | None = None,
) -> list[Curve]:
    """Success on each task before, while and after it is learned, by step of the sequence.

    Args:
        matrix: The rows of the performance matrix so far: before training, and after each of the
            phases that were learned.
        curves: The success curve of each of these phases over its own steps.
        starts: Steps of the sequence at which the phases begin, and at which the last one ends.
        phases: The columns that each phase learns; by default one after another.

    Returns:
        A curve for each column of the matrix. It has a point for each row, and those of the curve
        of a phase that learns this task alone in place of the two rows at its ends.
    """
    found = []
    for j in range(len(matrix[0])):
        points = [(float(starts[0]), float(matrix[0][j]))]
        for phase, row in enumerate(matrix[1:]):
            alone = phase == j if phases is None else list(phases[phase]) == [j]
            if alone and phase < len(curves):
                own = zip(curves[phase].steps, curves[phase].success, strict=True)
                points[-1:] = [(float(starts[phase] + step), success) for step, success in own]
            else:
                points.append((float(starts[phase + 1]), float(row[j])))
        found.append(Curve(*zip(*points, strict=True)))
    return found
