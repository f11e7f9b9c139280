"""Runs of the toy plug-in through the command line, in this process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lifelong_rl.cli import main
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.setup import prepare
from lifelong_rl.studies.study import Cell

PLUGIN = ["--plugin", "toy_plugin"]
TOY = [*PLUGIN, "--sequence", "toy3", "--agent", "toy"]
SMALL = ["--steps-per-task", "240", "--num-envs", "4", "--eval-episodes", "6", "--eval-points", "4"]

QUICK = (sys.executable, str(Path(__file__).with_name("quick_cell.py")))
"""Program that stands in for that of a sweep's cells."""

CELL = "toy3-toy-finetune-seed"
"""Names of toy cells, but for the seed."""

needs_submitit = pytest.mark.skipif(  # to import it would set up logging, see `Slurm`
    find_spec("submitit") is None, reason="the extra [slurm] is not installed"
)


def toy_cells(runs: Path, number: int, num_threads: int = 2) -> list[Cell]:
    """Toy cells with the seeds from 0 on."""
    configs = [
        RunConfig(sequence="toy3", agent="toy", seed=seed, num_threads=num_threads)
        for seed in range(number)
    ]
    return [Cell(runs / c.folder_name, prepare(c, ("toy_plugin",))) for c in configs]


def wait_until(true: Callable[[], Any]) -> None:
    """Wait for what other processes do; two minutes are far more than it takes."""
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def run_toy(path: Path, *arguments: str) -> int:
    return main(["run", *TOY, *SMALL, "--run-dir", str(path), *arguments])


def results(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "results.json").read_text())
    return content


def metric_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def without_speed(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of two equal runs differ in nothing but the time that they took."""
    for line in lines:
        line["values"].pop("train/steps_per_second", None)
    return lines


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file in a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
