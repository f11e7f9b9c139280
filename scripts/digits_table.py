"""Run every method on labelled digits over several seeds: do the methods do what they are for?

    python scripts/digits_table.py --json docs/results/digits.json

Each sequence, method and seed is a cell: what `lifelong-rl run --agent classifier` learns with the
method's default options, except that memories are small (`PER_TASK`), and evaluated on the whole
test set. A finished cell leaves its results in --out and is not run again; one that was interrupted
starts anew. Several cells run at a time, one process and one torch thread each.
"""

from __future__ import annotations

import argparse
import inspect
import json
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from compare_methods import spread

from envs.labelled import NUM_TEST
from lifelong_rl.benchmark.atomic import write_json
from lifelong_rl.benchmark.config import RunConfig
from lifelong_rl.benchmark.endings import RunFailed
from lifelong_rl.benchmark.loop import SequenceLoop
from lifelong_rl.benchmark.run_folder import RunFolder
from lifelong_rl.benchmark.sequence import load_sequence
from lifelong_rl.benchmark.setup import prepare
from lifelong_rl.continual import METHODS
from lifelong_rl.errors import UserError

SEQUENCES = ["split-digits", "permuted-digits", "noisy-digits"]
METRICS = ["learned_performance", "average_performance", "forgetting", "retention"]
EVAL_POINTS = 5
PER_TASK = 100
"""Rows of each task in a memory; by default that would be all the data there is."""

Cell = tuple[str, str, int]
"""Sequence, method and seed."""


def try_cell(cell: Cell) -> dict[str, Any] | str:
    """What `run_cell` returns, or the line that tells why it failed."""
    try:
        return run_cell(cell)
    except (UserError, RunFailed) as error:  # which cannot all be sent between processes
        return str(error)


def run_cell(cell: Cell) -> dict[str, Any]:
    """Learn a sequence, and return the content of the run's `results.json`."""
    sequence, method, seed = cell
    factory: Any = METHODS.get(method)
    known = inspect.signature(factory).parameters
    small = {"per_task": PER_TASK, "memory_size": PER_TASK * load_sequence(sequence).num_tasks}
    config = RunConfig(
        sequence=sequence,
        agent="classifier",
        method=method,
        method_options={option: rows for option, rows in small.items() if option in known},
        seed=seed,
        num_envs=1,
        eval_episodes=NUM_TEST,
        eval_points=EVAL_POINTS,
        num_threads=1,
        threads=1,
    )
    setup = prepare(config)
    loop = SequenceLoop(setup)
    with TemporaryDirectory() as temporary:
        folder = RunFolder.create(Path(temporary) / "run", setup.config)
        try:
            return loop.run(folder)
        finally:
            folder.unlock()


def summarise(sequence: str, method: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the table: what is kept of the runs of a method on a sequence."""
    return {
        "sequence": sequence,
        "method": method,
        "method_options": runs[0]["method_options"],
        "agent_options": runs[0]["agent_options"],
        "budget": runs[0]["budget"],
        "versions": runs[0]["versions"],
        "seeds": [run["seed"] for run in runs],
        "metrics": {name: [run["metrics"][name] for run in runs] for name in METRICS},
        "performance_matrix": [run["performance_matrix"] for run in runs],
        "seconds": [run["cost"]["seconds"] for run in runs],
        "memory_bytes": [run["cost"]["memory_bytes"] for run in runs],
        "parameters": [run["cost"]["parameters"] for run in runs],
    }


def print_table(sequence: str, rows: list[dict[str, Any]]) -> None:
    print(f"{sequence}, classifier: mean (range over seeds)")
    print(f"{'method':>18} " + " ".join(f"{name:>21}" for name in METRICS) + "  seconds  memory")
    for row in rows:
        values = " ".join(f"{spread(row['metrics'][name]):>21}" for name in METRICS)
        seconds, memory = statistics.mean(row["seconds"]), max(row["memory_bytes"]) / 1e6
        print(f"{row['method']:>18} {values} {seconds:8.1f} {memory:5.1f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", nargs="+", default=SEQUENCES)
    parser.add_argument("--methods", nargs="+", default=METHODS.names())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--processes", type=int, default=2, help="cells at a time")
    parser.add_argument("--out", type=Path, default=Path("runs/digits"), help="where cells go")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()

    cells = list(product(args.sequences, args.methods, args.seeds))
    files = {cell: args.out / "{}-{}-seed{}.json".format(*cell) for cell in cells}
    args.out.mkdir(parents=True, exist_ok=True)
    missing = [cell for cell in cells if not files[cell].exists()]
    failed = []
    with ProcessPoolExecutor(args.processes) as pool:
        waiting = {pool.submit(try_cell, cell): cell for cell in missing}
        for done, future in enumerate(as_completed(waiting), start=1):
            cell, found = waiting[future], future.result()
            line = f"{done}/{len(missing)} {files[cell].stem}"
            if isinstance(found, str):
                failed.append(cell)
                line += f" failed: {found}"
            else:
                write_json(files[cell], found)
            print(line, flush=True)

    rows = []
    for sequence in args.sequences:
        of_sequence = []
        for method in args.methods:
            kept = [files[sequence, method, seed] for seed in args.seeds]
            runs = [json.loads(file.read_text()) for file in kept if file.exists()]
            if runs:
                of_sequence.append(summarise(sequence, method, runs))
        print_table(sequence, of_sequence)
        rows += of_sequence
    if args.json:
        write_json(args.json, rows)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
