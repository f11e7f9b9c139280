"""Figures of one run: its performance matrix, and its success curves over the whole sequence.

They are drawn without a display and without the state of `matplotlib.pyplot`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from lifelong_rl.analysis.comparison import name_measure
from lifelong_rl.analysis.figures import styled
from lifelong_rl.analysis.groups import relate_returns
from lifelong_rl.analysis.runs import Run
from lifelong_rl.metrics.curves import success_over_sequence
from lifelong_rl.metrics.matrix import Curve, Matrix

WIDTH = 4.6
"""Of a figure, in inches."""
MARKERS = "osD^vP*X<>p"
CROWDED = 12
"""From so many tasks on, the cells of a matrix have no numbers in them."""


class RunFigure(Figure):
    """A figure that notebooks show, although `pyplot` does not know it."""

    def _repr_png_(self) -> bytes:
        box = io.BytesIO()
        with styled():
            self.savefig(box, format="png", dpi=120)
        return box.getvalue()


def plot_matrix(run: Run) -> Figure:
    """Draw the performance matrix of a run."""
    (run,) = relate_returns([run])
    measure = name_measure(run.measures)
    with styled():
        return draw_matrix(run.matrix, run.tasks, phases=len(run.phases), measure=measure)


def plot_success(run: Run) -> Figure:
    """Draw success on each task over the whole sequence of a run."""
    (run,) = relate_returns([run])
    curves = success_over_sequence(run.matrix, run.curves, run.starts, run.phases)
    with styled():
        return draw_success(curves, run.tasks, run.starts, measure=name_measure(run.measures))


def draw_matrix(
    matrix: Matrix,
    tasks: Sequence[str],
    *,
    phases: int | None = None,
    measure: str = "success",
    title: str = "",
) -> Figure:
    """Draw success on each task (row) before learning, and after learning each task (column).

    Args:
        matrix: Performance matrix, or its first rows, (≥ 1, T).
        tasks: Names of the tasks, (T,).
        phases: Number of phases; by default that of the tasks.
        measure: What its numbers are.
        title: Above the figure.
    """
    success = np.asarray(matrix, dtype=float).T
    count = len(tasks)
    figure = RunFigure(figsize=(WIDTH, 1.0 + 0.27 * count), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(success, vmin=0.0, vmax=1.0, cmap="viridis", aspect="auto")
    if count < CROWDED:
        for (j, i), value in np.ndenumerate(success):
            colour = "black" if value > 0.6 else "white"
            axes.text(i, j, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(success.shape[1]), ["before", *map(str, range(1, success.shape[1]))])
    axes.set_yticks(range(count), [f"{j + 1} {task}" for j, task in enumerate(tasks)])
    axes.set_xlim(-0.5, (count if phases is None else phases) + 0.5)  # rows to come stay empty
    axes.set_xlabel("tasks learned")
    axes.tick_params(length=0)
    axes.set_title(title)
    figure.colorbar(image, ax=axes, label=measure, fraction=0.05)
    return figure


def draw_success(
    curves: Sequence[Curve],
    tasks: Sequence[str],
    starts: Sequence[float],
    *,
    bands: Sequence[tuple[Sequence[float], Sequence[float]] | None] = (),
    measure: str = "success",
    title: str = "",
) -> Figure:
    """Draw success on each task over the whole sequence, a dotted line where the phase changes.

    Args:
        curves: See `success_over_sequence`.
        tasks: Names of the tasks.
        starts: Steps of the sequence at which the phases begin, and at which the last one ends.
        bands: Lower and upper end of the interval around each curve; None for none.
        measure: What the curves show.
        title: Above the figure.
    """
    count = len(tasks)
    shades = matplotlib.colormaps["viridis"]
    rows = -(-count // 3)
    figure = RunFigure(figsize=(WIDTH, 2.4 + 0.17 * rows), layout="constrained")
    axes = figure.subplots()
    for start in starts[1:-1]:
        axes.axvline(start, color="gray", linewidth=0.7, linestyle=":")
    for j, (task, curve) in enumerate(zip(tasks, curves, strict=True)):
        colour = shades(0.15 + 0.75 * j / max(count - 1, 1))
        axes.plot(
            curve.steps,
            curve.success,
            color=colour,
            marker=MARKERS[j % len(MARKERS)],
            markersize=3.0,
            linewidth=1.2,
            label=f"{j + 1} {task}",
        )
        if band := (bands[j] if bands else None):
            axes.fill_between(curve.steps, *band, color=colour, alpha=0.2, linewidth=0)
    axes.set(xlim=(0, starts[-1]), ylim=(-0.03, 1.03))
    axes.set(xlabel="steps", ylabel=measure, title=title)
    figure.legend(loc="outside lower center", ncols=3)
    return figure
