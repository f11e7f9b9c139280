"""What is printed when a run has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHOWN = (
    "average_performance",
    "learned_performance",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "retention",
)


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
    print("success of each task (row) before learning, and after learning each task (column):")
    matrix = results["performance_matrix"]
    header = ["task", "before", *(str(i) for i in range(1, len(matrix)))]
    rows = [
        [f"{i + 1} {task}", *(f"{row[i]:.2f}" for row in matrix)]
        for i, task in enumerate(results["tasks"])
    ]
    print(format_table(header, rows))
    print()
    for name in SHOWN:
        print(f"{name.replace('_', ' '):<20} {_number(metrics[name]):>6}")
    print(f"{'time':<20} {format_seconds(cost['seconds']):>6}")
    diverged = sum(results["diverged"].values())
    if diverged:
        print(f"{'diverged':<20} {diverged:>6} simulations became unstable and were restarted")
    print()
    print(f"results:   {path / 'results.json'}")
    print(f"curves:    tensorboard --logdir {path}")
    print(f"evaluate:  lifelong-rl eval {path} --episodes 100")


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns separated by two spaces, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in [header, *rows]
    )


def format_seconds(seconds: float) -> str:
    """Such as "42 s", "3 min 05 s" or "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
