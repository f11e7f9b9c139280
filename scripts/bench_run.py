"""Measure a whole benchmark run against the same run of an earlier commit, in turns.

    python scripts/bench_run.py --before cf3d906 --seeds 0 1 2 --json docs/results/bench_run.json

Both learn the same sequence for the same steps with as many matrix episodes, each with the
defaults of its own version, one process and one thread at a time. CPU time is that of the whole
process, from start to end. A finished run leaves a file in --out and is not run again;
the earlier commit is checked out into a folder there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lifelong_rl.storage.versions import versions

ROOT = Path(__file__).resolve().parent.parent


def measure(source: Path, run_dir: Path, seed: int, sequence: str, steps: int) -> dict[str, Any]:
    """Make one run with the code in a folder, and tell its time and its success matrix."""
    command = [sys.executable, "-P", "-m", "lifelong_rl", "run", "--sequence", sequence]
    command += ["--agent", "sac", "--method", "finetune", "--seed", str(seed), "--quiet"]
    command += ["--steps-per-task", str(steps), "--num-threads", "1", "--run-dir", str(run_dir)]
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    results = json.loads((run_dir / "results.json").read_text(encoding="utf-8"))
    matrix = results["performance_matrix"]
    return {
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "wall_seconds": round(time.perf_counter() - began, 1),
        "mean_diagonal": statistics.mean(row[task] for task, row in enumerate(matrix[1:])),
        "diagonal": [row[task] for task, row in enumerate(matrix[1:])],
    }


def main() -> None:
    """Make the runs that are missing, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, help="the earlier commit")
    parser.add_argument("--sequence", default="arm10")
    parser.add_argument("--steps-per-task", type=int, default=20_000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/bench_run"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    earlier = out / "before"
    if not earlier.exists():
        add = ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(earlier), args.before]
        subprocess.run(add, check=True)
    cells: list[dict[str, Any]] = []
    for seed in args.seeds:
        for name, source in (("before", earlier), ("now", ROOT)):
            path = out / f"{name}-seed{seed}.json"
            if not path.exists():
                run_dir = out / f"run-{name}-seed{seed}"
                cell = measure(source, run_dir, seed, args.sequence, args.steps_per_task)
                path.write_text(json.dumps({"of": name, "seed": seed, **cell}), encoding="utf-8")
            cells.append(json.loads(path.read_text(encoding="utf-8")))
            cell = cells[-1]
            print(
                f"seed {seed} {name:<7}{cell['cpu_seconds']:8.0f} s of CPU "
                f"{cell['wall_seconds']:8.0f} s  mean diagonal {cell['mean_diagonal']:.3f}",
                flush=True,
            )
    before, now = ([c for c in cells if c["of"] == name] for name in ("before", "now"))
    ratios = [b["cpu_seconds"] / a["cpu_seconds"] for a, b in zip(before, now, strict=True)]
    diagonals = [statistics.mean(c["mean_diagonal"] for c in of_it) for of_it in (before, now)]
    print(
        f"CPU time, now / before: median {statistics.median(ratios):.2f}; mean diagonal "
        f"{diagonals[0]:.3f} before, {diagonals[1]:.3f} now"
    )
    if args.json:
        report = {
            "command": "python scripts/bench_run.py",
            "sequence": args.sequence,
            "steps_per_task": args.steps_per_task,
            "before": args.before,
            "cpu_ratio": statistics.median(ratios),
            "cells": cells,
            "versions": versions(),
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
