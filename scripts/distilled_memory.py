"""What a memory of rows that are learned is worth beside one of rows of the data, at equal bytes.

    python scripts/distilled_memory.py --json docs/results/distilled_memory.json

`replay` learns a labelled stream with N rows in memory for each class of each task: rows of the
data, drawn from a task as a whole (real) or in equal shares from its classes (balanced, which is
keep=distilled without an update), or rows that are learned from it by gradient matching
(distilled). All else is the same: runs of `lifelong-rl run --agent classifier --method replay`.

`at the end` and `forgotten` are the average performance and the forgetting of the runs; `memory`
is what the method keeps after the last task; `seconds at ends` is the CPU time of learning that
the kind takes beyond that of real rows, which its updates at the ends of tasks make up.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.loop import SequenceLoop
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.results_file import ResultsFile
from lifelong_rl.storage.versions import versions
from lifelong_rl.text import format_table

CLASSES = {"split-digits": 2, "permuted-digits": 10}
"""Of each task of a stream."""
KINDS: dict[str, dict[str, Any]] = {
    "real": {},
    "balanced": {"keep": "distilled", "distill_updates": 0},
    "distilled": {"keep": "distilled"},
}


def measure(sequence: str, kind: str, rows: int, seed: int, steps: int | None) -> dict[str, Any]:
    """Learn a stream once."""
    config = RunConfig(
        sequence=sequence,
        agent="classifier",
        method="replay",
        method_options={"per_task": rows * CLASSES[sequence], **KINDS[kind]},
        seed=seed,
        steps_per_task=steps,
        num_envs=1,
        eval_episodes=360,
        eval_points=1,
        curve_episodes=1,
        num_threads=1,
        diagnostics=False,
        track=(),
    )
    setup = prepare(config)
    begin = process_time()
    with TemporaryDirectory() as temporary:
        folder = RunFolder.create(Path(temporary) / "run", setup.config)
        try:
            results = SequenceLoop(setup).run(folder)
        finally:
            folder.unlock()
    return {
        "average_performance": results["metrics"]["average_performance"],
        "forgetting": results["metrics"]["forgetting"],
        "memory_bytes": results["cost"]["memory_bytes"],
        "cpu_seconds": round(process_time() - begin, 2),
    }


def tabulate(results: dict[str, Any], sequence: str, rows: list[int], seeds: list[int]) -> str:
    """A line for each number of rows and each kind."""
    lines = []
    for count in rows:
        plain = 0.0
        for kind in KINDS:
            cells = [results[name_of(sequence, kind, count, seed)] for seed in seeds]
            seconds = mean(cell["cpu_seconds"] for cell in cells)
            plain = plain or seconds
            lines.append(
                [
                    str(count),
                    kind,
                    spread([cell["average_performance"] for cell in cells]),
                    spread([cell["forgetting"] for cell in cells]),
                    f"{cells[0]['memory_bytes'] / 1000:.1f} kB",
                    f"{seconds - plain:.0f}",
                ]
            )
    header = ["rows a class", "kind", "at the end", "forgotten", "memory", "seconds at ends"]
    return f"{sequence}\n{format_table(header, lines)}"


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def name_of(sequence: str, kind: str, rows: int, seed: int) -> str:
    return f"{sequence} {kind} {rows} seed {seed}"


def main() -> None:
    """Run what is missing, print the tables and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", nargs="+", default=list(CLASSES), choices=list(CLASSES))
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 5, 10], metavar="N")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps-per-task", type=int, help="by default the sequence's")
    parser.add_argument("--json", type=Path, help="file for the figures, added to if it is there")
    args = parser.parse_args()
    command = "python scripts/distilled_memory.py"
    file = ResultsFile(args.json, {"command": command, "steps_per_task": args.steps_per_task})
    for sequence in args.sequences:
        for count in args.rows:
            for kind in KINDS:
                for seed in args.seeds:
                    name = name_of(sequence, kind, count, seed)
                    if name not in file.results:
                        file.results[name] = measure(
                            sequence, kind, count, seed, args.steps_per_task
                        )
                        file.write(versions=versions())
        print(tabulate(file.results, sequence, args.rows, args.seeds), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
