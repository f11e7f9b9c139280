"""What each method adds to an update: its time beside plain fine-tuning's, task by task.

    python scripts/bench_methods.py --json docs/results/bench_methods.json

Each method learns a sequence of five tasks in a short run. While it does, its updates are timed in
turns with those of plain fine-tuning on the same data (`cost.updates` of `results.json`): a ratio
of times a moment apart, in one process with one thread. Memories hold what the short run brought;
the time of an update depends on the rows that it draws from them, not on how many they hold.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import lifelong_rl
from lifelong_rl.continual import METHODS
from lifelong_rl.errors import UserError
from lifelong_rl.storage.atomic import write_json

SEQUENCES = {"sac": "arm5", "bc": "arm5", "classifier": "permuted-digits"}
"""Of five tasks each."""


def measure(agent: str, method: str, steps_per_task: int) -> list[float]:
    """The ratio in each task."""
    result = lifelong_rl.run(
        sequence=SEQUENCES[agent],
        agent=agent,
        method=method,
        steps_per_task=steps_per_task,
        num_envs=1 if agent == "classifier" else 16,
        eval_episodes=1,
        num_threads=1,
        threads=1,
        diagnostics=False,
    )
    return list(result.details.update_ratios)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", nargs="+", default=list(SEQUENCES), choices=list(SEQUENCES))
    parser.add_argument("--methods", nargs="+", default=METHODS.names())
    parser.add_argument("--steps-per-task", type=int, default=1500)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()

    rows: list[dict[str, Any]] = []
    for agent in args.agents:
        print(f"{agent} on {SEQUENCES[agent]}: time of an update / that of fine-tuning, by task")
        for method in args.methods:
            try:
                ratios = measure(agent, method, args.steps_per_task)
            except UserError as error:
                print(f"{method:>18} {error}")
                continue
            rows.append({"agent": agent, "method": method, "ratios": ratios})
            print(f"{method:>18} " + " ".join(f"{ratio:6.2f}" for ratio in ratios), flush=True)
            if args.json:
                write_json(args.json, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
