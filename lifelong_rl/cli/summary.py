"""What is printed when a run has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lifelong_rl.text import format_seconds, format_table, quote

SHOWN = (
    "average_performance",
    "learned_performance",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "retention",
)
FITTING = 8
"""Tasks of which the matrix fits on a screen of 80 by 24, with all that is below it."""


def print_summary(results: dict[str, Any], path: Path, *, quiet: bool) -> None:
    """Print the performance matrix, the metrics, the time and what to do next.

    Args:
        results: Content of `results.json`.
        path: Folder of the run.
        quiet: Print only one line.
    """
    metrics, cost = results["metrics"], results["cost"]
    if quiet:
        shown = "  ".join(f"{name} {_number(metrics[name])}" for name in SHOWN[:3])
        print(f"{path}: {shown}  {format_seconds(cost['seconds'])}")
        return
    print()
    print(format_success(results["tasks"], results["performance_matrix"]))
    print()
    for name in SHOWN:
        print(f"{name.replace('_', ' '):<20} {_number(metrics[name]):>6}")
    print(f"{'time':<20} {format_seconds(cost['seconds']):>6}")
    diverged = sum(results["diverged"].values())
    if diverged:
        print(f"{'diverged':<20} {diverged:>6} simulations became unstable and were restarted")
    print()
    print(f"results:   {path / 'results.json'}")
    print(f"report:    lifelong-rl report {quote(path)}")
    print(f"curves:    tensorboard --logdir {quote(path)}")
    print(f"evaluate:  lifelong-rl eval {quote(path)} --episodes 100")


def format_success(tasks: Sequence[str], matrix: Sequence[Sequence[float]]) -> str:
    """The performance matrix; where it is too large for a screen, of what most was forgotten."""
    if len(tasks) <= FITTING:
        title = "success of each task (row) before learning, and after each task (column):"
        header = ["task", "before", *(str(i) for i in range(1, len(matrix)))]
        columns = [*matrix]
        shown = list(range(len(tasks)))
    else:
        title = f"success on the {FITTING} of {len(tasks)} tasks of which most was forgotten:"
        header = ["task", "before", "learned", "end"]
        learned = [matrix[j + 1][j] for j in range(len(tasks))]
        columns = [matrix[0], learned, matrix[-1]]
        by_loss = sorted(range(len(tasks)), key=lambda j: matrix[-1][j] - learned[j])
        shown = sorted(by_loss[:FITTING])
    rows = [[f"{j + 1} {tasks[j]}", *(f"{column[j]:.2f}" for column in columns)] for j in shown]
    return f"{title}\n{format_table(header, rows)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
