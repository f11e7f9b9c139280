"""Tell which methods let an agent learn late tasks: success right after learning, by method.

    lifelong-rl sweep studies/plasticity.yaml
    python scripts/plasticity.py runs/plasticity --json docs/results/plasticity.json

Differences are those to fine-tuning, with 95 % intervals by bootstrap over the runs of each task,
as `lifelong-rl compare` makes them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl.analysis.estimates import Estimate, estimate
from lifelong_rl.analysis.reproduction import describe_origin
from lifelong_rl.analysis.runs import Run, find_runs
from lifelong_rl.analysis.tables import format_interval
from lifelong_rl.text import format_table

RESAMPLES = 10_000
PLAIN = "finetune"
HEADER = ("method", "runs", "learned", "difference", "all tasks", "difference", "in the end")


def by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each method by seed, fine-tuning first."""
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.method != PLAIN, run.seed)):
        found[run.method].append(run)
    return dict(found)


def estimates(runs: Sequence[Run], late: Sequence[str], seed: int) -> dict[str, Estimate]:
    """Success right after learning, of each late task, of those together and of all tasks."""
    learned = np.stack([np.diagonal(run.matrix[1:]) for run in runs])
    scores = dict(zip(runs[0].tasks, learned.T, strict=True))
    asked = {task: [task] for task in late} | {"late": list(late), "all": list(scores)}
    found = {}
    for name, tasks in asked.items():
        of_tasks = {task: scores[task] for task in tasks}
        one = estimate(of_tasks, RESAMPLES, np.random.default_rng(seed))
        assert one is not None
        found[name] = one
    return found


def measure(runs: Sequence[Run], late: Sequence[str]) -> dict[str, Any]:
    """For each method its estimates, their differences to fine-tuning, and what runs scored."""
    groups = by_method(runs)
    if PLAIN not in groups:
        sys.exit(f"no run of {PLAIN}, which all others are set against")
    if len({run.tasks for run in runs}) > 1:
        sys.exit("the runs are of several sequences")
    found: dict[str, Any] = {}
    plain = estimates(groups[PLAIN], late, 0)
    for index, (method, own) in enumerate(groups.items()):
        measured = estimates(own, late, index)
        found[method] = {
            "seeds": [run.seed for run in own],
            "commits": describe_origin(own).get("commit", []),
            "learned": {name: one.as_dict()["mean"] for name, one in measured.items()},
            "difference": {
                name: (one - plain[name]).as_dict()["mean"] for name, one in measured.items()
            },
            "each_run": {
                task: [float(run.matrix[1 + t, t]) for run in own]
                for t, task in enumerate(own[0].tasks)
            },
            "end": float(np.mean([run.matrix[-1].mean() for run in own])),
            "learn_seconds": float(np.mean([sum(run.learn_seconds) for run in own])),
        }
    return found


def table(found: Mapping[str, Any], name: str) -> str:
    """What a reader is shown of one task, or of the late ones together."""
    rows = [
        (
            method,
            str(len(one["seeds"])),
            format_interval(one["learned"][name]),
            format_interval(one["difference"][name]) if method != PLAIN else "",
            format_interval(one["learned"]["all"]),
            format_interval(one["difference"]["all"]) if method != PLAIN else "",
            f"{one['end']:.2f}",
        )
        for method, one in found.items()
    ]
    return format_table(HEADER, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--late", nargs="+", default=["push", "pick-place"], metavar="TASK")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs, left_out = find_runs(options.runs)
    for one in left_out:
        print(f"left out: {one.path}: {one.reason}", file=sys.stderr)
    if not runs:
        sys.exit("no finished run")
    found = measure(runs, options.late)
    for name in (*options.late, "late"):
        print(f"\n{'all late tasks together' if name == 'late' else name}\n")
        print(table(found, name))
    if options.json is not None:
        content = {
            "command": "python scripts/plasticity.py",
            "steps_per_task": runs[0].budget["steps_per_task"],
            "versions": dict(runs[0].versions),
            "methods": found,
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
