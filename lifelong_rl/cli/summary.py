"""What is printed when a run has ended."""

from __future__ import annotations

from typing import Any

from lifelong_rl.metrics.matrix import LEARNED, count_kept, count_learned
from lifelong_rl.metrics.matrix import learned as right_after_learning
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

    Where not all tasks were learned it says so first.

    Args:
        results: Content of `results.json`.
        folder: Of the run.
        quiet: Print only one line.
    """
    path = folder.path
    metrics, cost, matrix = results["metrics"], results["cost"], results["performance_matrix"]
    phases = [phase["tasks"] for phase in results["phases"]] if "phases" in results else None
    measures = results.get("measures", ["success"])
    bounded = "return" not in measures
    count = len(results["tasks"])
    learned = count_learned(matrix, phases) if bounded else count
    if quiet:
        told = f"learned {learned} of {count} tasks  " if learned < count else ""
        shown = "  ".join(f"{name} {_number(metrics[name])}" for name in SHOWN[:3])
        print(f"{path}: {told}{shown}  {format_seconds(cost['seconds'])}")
        return
    print()
    measure = " or ".join(dict.fromkeys(measures))
    right_after = right_after_learning(matrix, phases).tolist()
    print(format_success(results["tasks"], matrix, right_after, measure))
    print()
    names, words = list(SHOWN), {}
    if learned < count:  # what was forgotten of the others tells little
        names.sort(key=lambda name: name != "learned_performance")
        words["learned_performance"] = f"{learned} of {count} tasks learned to {LEARNED} or more"
        kept = count_kept(matrix, phases)
        words["retention"] = f"of the {kept} earlier tasks with any success"
    for name in names:
        told = f"  {words[name]}" if name in words else ""
        print(f"{name.replace('_', ' '):<20} {_number(metrics[name]):>6}{told}")
    learning = sum(entry["learn"] for entry in cost["seconds_per_task"])
    share = 1.0 - learning / max(cost["seconds"], learning, 1e-9)
    print(f"{'time':<20} {format_seconds(cost['seconds']):>6}  {share:.0%} of it evaluation")
    diverged = sum(results["diverged"].values())
    if diverged:
        print(f"{'diverged':<20} {diverged:>6} simulations became unstable and were restarted")
    print()
    print(f"results:   {path / 'results.json'}")
    print(f"report:    lifelong-rl report {quote(path)}")
    print(f"curves:    tensorboard --logdir {quote(path)}")
    print(f"evaluate:  {folder.command('eval', '--episodes', '100')}")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
