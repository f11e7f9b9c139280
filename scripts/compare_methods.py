"""Run every method on a sequence over several seeds and print what each forgets.

Finished runs are kept in --runs and not repeated; interrupted ones are resumed.

    python scripts/compare_methods.py --json results.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

METHODS = ["finetune", "ewc", "agem", "replay", "progressive"]
METRICS = ["learned_performance", "average_performance", "forgetting", "retention"]


def finish(run_dir: Path, arguments: list[str]) -> dict[str, Any] | None:
    """Run, resume or only read one run; None if it failed."""
    results = run_dir / "results.json"
    command = [sys.executable, "-m", "lifelong_rl"]
    if (run_dir / "config.yaml").exists():
        command += ["resume", str(run_dir), "--quiet"]
    else:
        command += ["run", "--run-dir", str(run_dir), "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{run_dir}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return json.loads(results.read_text())


def spread(values: list[float | None]) -> str:
    """Mean and range, as "0.46 (0.40 to 0.51)"."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return f"{statistics.mean(known):.2f} ({min(known):.2f} to {max(known):.2f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequence", default="arm3")
    parser.add_argument("--agent", default="sac")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    parser.add_argument("--runs", type=Path, default=Path("runs/compare"), help="where runs go")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()

    cells = list(product(args.methods, args.seeds))

    def work(cell: tuple[str, int]) -> dict[str, Any] | None:
        method, seed = cell
        run_dir = args.runs / f"{args.sequence}-{args.agent}-{method}-seed{seed}"
        options = ["--sequence", args.sequence, "--agent", args.agent, "--method", method]
        return finish(run_dir, [*options, "--seed", str(seed), "--num-threads", "1"])

    with ThreadPoolExecutor(args.processes) as pool:
        results = dict(zip(cells, pool.map(work, cells), strict=True))

    rows = []
    for method in args.methods:
        found = [results[method, seed] for seed in args.seeds]
        runs = [run for run in found if run is not None]
        metrics = {name: [run["metrics"][name] for run in runs] for name in METRICS}
        rows.append(
            {
                "method": method,
                "seeds": [run["seed"] for run in runs],
                "metrics": metrics,
                "performance_matrix": [run["performance_matrix"] for run in runs],
                "learning_seconds": [
                    sum(task["learn"] for task in run["cost"]["seconds_per_task"]) for run in runs
                ],
                "memory_bytes": [run["cost"]["memory_bytes"] for run in runs],
                "parameters": [run["cost"]["parameters"] for run in runs],
                "versions": [run["versions"] for run in runs],
            }
        )

    print(f"{args.sequence}, {args.agent}, seeds {args.seeds}: mean (range over seeds)")
    print(f"{'method':>12} " + " ".join(f"{name:>24}" for name in METRICS) + "  seconds  memory")
    for row in rows:
        values = " ".join(f"{spread(row['metrics'][name]):>24}" for name in METRICS)
        seconds = (
            statistics.mean(row["learning_seconds"]) if row["learning_seconds"] else float("nan")
        )
        memory = max(row["memory_bytes"], default=0) / 1e6
        print(f"{row['method']:>12} {values} {seconds:8.0f} {memory:5.1f} MB")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 1 if any(run is None for run in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
