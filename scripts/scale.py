"""How long it takes to read a study of many finished cells, and how much memory.

    python scripts/scale.py --json docs/results/scale.json
    python scripts/scale.py --cells 200 --commands "sweep --dry-run"

The cells are made up: the folders that a study asks for, with the files that finished runs leave in
them, and success that is drawn. "methods" is a study of many methods and seeds; "grid" one of many
values of an option, with few seeds each. Every command is a process of its own, and its figures its
CPU time, the time on the clock and the most memory that was resident. What is made once, the disk
that real cells take, is in docs/scale.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from lifelong_rl.storage.atomic import format_json, write_json
from lifelong_rl.storage.versions import cpu_model, describe_session, git_commit, versions
from lifelong_rl.storage.yaml_file import dump_yaml
from lifelong_rl.text import format_table

if TYPE_CHECKING:
    from lifelong_rl.studies.study import Cell

# None of these imports torch: a child's peak memory is reported as no less than this process's.

ROOT = Path(__file__).resolve().parents[1]
METHODS = (
    "finetune, single-task, joint, l2, ewc, si, mas, vcl, rgo, ogd, gem, agem, replay, clone, lwf, "
    "perfect-memory, generative-replay, progressive, packnet, den"
)
STUDIES = {
    "methods": f"sequences: arm5\nagents: [bc, sac]\nmethods: [{METHODS}]\n",
    "grid": "sequences: arm5\nagents: [bc, sac]\nmethods: [ewc, clone]\n",
}
CELLS_PER_SEED = {"methods": 40, "grid": 4}
GRID_SEEDS = 10
COMMANDS = ("sweep --dry-run", "compare", "report")


def write_study(kind: str, cells: int, folder: Path) -> Path:
    """Write the file of a study of so many cells."""
    text = STUDIES[kind]
    if kind == "methods":
        text += f"seeds: {list(range(max(cells // CELLS_PER_SEED[kind], 1)))}\n"
    else:
        values = max(cells // CELLS_PER_SEED[kind] // GRID_SEEDS, 1)
        strengths = [float(f"{v:.4g}") for v in np.geomspace(1, 1e6, values)]
        options = ", ".join(f"{name}: {{strength: {strengths}}}" for name in ("ewc", "clone"))
        text += f"seeds: {list(range(GRID_SEEDS))}\ngrid:\n  method_options: {{{options}}}\n"
    path = folder / f"{kind}.yaml"
    path.write_text(text + f"runs: {folder / kind}\n", encoding="utf-8")
    return path


def make_up_all(path: Path) -> int:
    """Make up all cells of a study, and return their number."""
    from lifelong_rl.studies.study import read_study

    cells = read_study(path).cells
    generator, session = np.random.default_rng(0), describe_session()
    for cell in cells:
        make_up(cell, session, generator)
    return len(cells)


def make_up(cell: Cell, session: dict[str, Any], generator: np.random.Generator) -> None:
    """Write the folder of a finished cell."""
    from lifelong_rl.runs.measurements import Measurements, make_results
    from lifelong_rl.runs.sequence import task_labels
    from lifelong_rl.storage.metrics_log import MetricsLog

    config, sequence = cell.setup.config, cell.setup.sequence
    labels = task_labels(sequence.tasks)
    count, points = len(labels), config.eval_points
    since = np.arange(count + 1)[:, None] - 1 - np.arange(count)
    learned, kept = generator.uniform(0.6, 1.0, count), generator.uniform(0.3, 1.0, count)
    matrix = np.where(since < 0, 0.0, learned * kept ** np.maximum(since, 0))
    matrix = np.round(matrix * config.eval_episodes) / config.eval_episodes
    steps = np.linspace(0, cell.setup.phase_steps[0], points + 1).astype(int).tolist()
    measured = Measurements(
        performance=matrix.tolist(),
        returns=(50 * matrix).tolist(),
        curves=[
            {
                "steps": steps,
                "success": np.linspace(0.0, matrix[j + 1, j], points + 1).tolist(),
                "return": np.linspace(0.0, 50 * matrix[j + 1, j], points + 1).tolist(),
            }
            for j in range(count)
        ],
        learn_seconds=generator.uniform(50, 60, count).tolist(),
        evaluate_seconds=generator.uniform(5, 6, count + 1).tolist(),
        updates=[
            {"seconds": 0.01, "finetune_seconds": 0.008, "ratio": float(ratio)}
            for ratio in generator.uniform(1, 1.5, count)
        ],
        parameters=[100_000] * (count + 1),
        trainable_parameters=[100_000] * (count + 1),
        memory_bytes=[1_000_000 * j for j in range(count + 1)],
    )
    cell.path.mkdir(parents=True)
    files = {
        "config.yaml": dump_yaml(config.as_dict()).encode(),
        "manifest.json": format_json({"tasks": list(labels), "sessions": [session]}),
        "status.json": format_json({"status": "finished", "message": "", "pid": 1}),
        "results.json": format_json(make_results(measured, config, sequence, cell.setup.sight)),
    }
    for name, content in files.items():
        (cell.path / name).write_bytes(content)
    log = MetricsLog(cell.path / "metrics.jsonl", cell.path / "tb", keep=0, keep_step=-1)
    for row, success in enumerate(measured.performance):
        values = {f"success/{label}": s for label, s in zip(labels, success, strict=True)}
        log.write("evaluation", row * cell.setup.phase_steps[0], None, values)
    log.close()


def measure(arguments: list[str], out: Path) -> dict[str, float]:
    """Run a command, and return what it cost.

    Raises:
        RuntimeError: It failed.
    """
    begun = perf_counter()
    with out.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lifelong_rl", *arguments],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=told,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(
            f"{arguments} ended with {process.returncode}: {out.read_text(encoding='utf-8')[-999:]}"
        )
    memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": perf_counter() - begun,
        "memory_mb": memory / 2**20,
    }


def measure_study(kind: str, cells: int, commands: list[str]) -> dict[str, Any]:
    """Make up a study, and return what each command costs on it."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = write_study(kind, cells, folder)
        with get_context("spawn").Pool(1) as pool:  # a child's peak memory is no less than ours
            count = pool.apply(make_up_all, [path])
        found: dict[str, Any] = {"cells": count}
        page = folder / "page.html"
        for command in commands:
            arguments = command.split()
            if arguments[0] == "sweep":
                arguments.insert(1, str(path))
            else:
                arguments.append(str(folder / kind))
            if arguments[0] == "report":
                arguments += ["--out", str(page)]
            found[command] = measure(arguments, folder / "out")
            print(f"{kind}, {count} cells, {command}: {found[command]}", flush=True)
        if page.exists():
            found["page_mb"] = page.stat().st_size / 1e6
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[200, 1000, 2000])
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), choices=list(STUDIES))
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS))
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()

    studies = {
        kind: [measure_study(kind, cells, args.commands) for cells in args.cells]
        for kind in args.studies
    }
    rows = [
        [kind, str(found["cells"]), command, *(f"{v:.1f}" for v in found[command].values())]
        for kind, sizes in studies.items()
        for found in sizes
        for command in args.commands
    ]
    print(format_table(["study", "cells", "command", "CPU s", "s", "MB"], rows))
    if args.json:
        content = {
            "versions": versions(),
            "git_commit": git_commit(),
            "cpu": cpu_model(),
            "studies": studies,
        }
        write_json(args.json, content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
