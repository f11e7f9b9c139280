"""Count the units that DEN selects and splits on a stream of digits, task by task.

python scripts/den_units.py --thresholds 0.01 0.3 0.5 --json docs/results/den_units.json
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from lifelong_rl.networks.expandable import ExpandableMLP
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.versions import versions


def count_units(sequence: str, tasks: int, seed: int, **options: float) -> list[dict[str, Any]]:
    """Learn the first tasks; of each, the units of each layer, those selected and those split."""
    counted: list[dict[str, Any]] = []
    select, split = ExpandableMLP.select, ExpandableMLP.split

    def counting_select(network: ExpandableMLP, task_id: int, *more: Any) -> Any:
        chosen = select(network, task_id, *more)
        there = [int((stamps <= task_id).sum()) for stamps in network.stamps]
        counted[-1] |= {"units": there, "selected": [int(units.sum()) for units in chosen]}
        return chosen

    def counting_split(network: ExpandableMLP, *arguments: Any) -> Any:
        parted = split(network, *arguments)
        counted[-1]["split"] = [int(units.sum()) for units in parted]
        return parted

    setup = prepare(
        RunConfig(
            sequence=sequence, agent="classifier", method="den", method_options=options, seed=seed
        )
    )
    with closing(setup.make_env(0)) as env:
        agent, _ = setup.build_agent(env)
    with (
        mock.patch.object(ExpandableMLP, "select", counting_select),
        mock.patch.object(ExpandableMLP, "split", counting_split),
    ):
        for task_id in range(tasks):
            counted.append({"task": setup.sequence.tasks[task_id]})
            with closing(setup.make_env(task_id)) as env:
                agent.begin_task(task_id, env)
                agent.learn_task(setup.phase_steps[0], lambda done: None)
                agent.end_task()
    return counted


def main() -> None:
    """Count, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", nargs="+", default=["split-digits", "permuted-digits"])
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--thresholds", nargs="+", type=float, default=[0.01, 0.3, 0.5])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cells = []
    print(f"{'sequence':<18}{'threshold':>10}  {'task':<16}{'units':<14}{'selected':<14}split")
    for sequence in args.sequences:
        for threshold in args.thresholds:
            found = count_units(sequence, args.tasks, args.seed, threshold=threshold)
            cells.append({"sequence": sequence, "threshold": threshold, "tasks": found})
            for one in found[1:]:
                units, selected, parted = (
                    " ".join(map(str, one[name])) for name in ("units", "selected", "split")
                )
                print(
                    f"{sequence:<18}{threshold:>10}  {one['task']:<16}{units:<14}{selected:<14}"
                    f"{parted}",
                    flush=True,
                )
    if args.json:
        figures = {"command": "python scripts/den_units.py", "seed": args.seed}
        figures |= {"versions": versions(), "cells": cells}
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
