"""What is printed when a run has ended."""

from __future__ import annotations

from typing import Any

from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.text import format_seconds, format_success, quote

SHOWN = (
    "average_performance",
    "learned_performance",
    "forgetting",
    "backward_transfer",
    "forward_transfer",
    "retention",
)


def print_summary(results: dict[str, Any], folder: RunFolder, *, quiet: bool) -> None:
    """Print the performance matrix, the metrics, the time and what to do next.

    Args:
        results: Content of `results.json`.
        folder: Of the run.
        quiet: Print only one line.
    """
    path = folder.path
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
    print(f"evaluate:  {folder.command('eval', '--episodes', '100')}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
