"""The first whole path: arm3 is learned, forgotten by fine-tuning, and resumed bit for bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "lifelong_rl", *map(str, arguments)]


def run(folder: Path, *arguments: str) -> list[str]:
    fixed = ("--sequence", "arm3", "--agent", "sac", "--seed", "0", "--quiet")
    return command("run", "--run-dir", folder, *fixed, *arguments)


def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


@pytest.mark.parametrize(
    ("method", "least", "most"),
    [("finetune", 0.3, 1.0), ("ewc", -1.0, 1.0), ("replay", -1.0, 0.15), ("progressive", -1, 0.05)],
)
def test_each_task_is_learned_and_forgotten_as_it_should(
    tmp_path: Path, method: str, least: float, most: float
) -> None:
    subprocess.run(run(tmp_path / "run", "--method", method), check=True)
    found = results(tmp_path / "run")
    matrix = found["performance_matrix"]
    assert all(success <= 0.2 for success in matrix[0])
    assert all(matrix[task + 1][task] >= 0.9 for task in range(3))
    assert least <= found["metrics"]["forgetting"] <= most


def test_a_killed_run_ends_with_the_same_numbers(tmp_path: Path) -> None:
    short = ("--steps-per-task", "3000", "--method", "replay", "--eval-episodes", "10")
    subprocess.run(run(tmp_path / "whole", *short), check=True)

    killed = tmp_path / "killed"
    process = subprocess.Popen(run(killed, *short))
    deadline = time.monotonic() + 300
    while "drawer-open" not in learned_tasks(killed / "metrics.jsonl"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "results.json").exists()

    subprocess.run(command("resume", killed, "--quiet"), check=True)
    whole, resumed = results(tmp_path / "whole"), results(killed)
    for same in ("performance_matrix", "return_matrix", "success_curves"):
        assert resumed[same] == whole[same]


def learned_tasks(metrics: Path) -> set[str]:
    """Tasks that a run has logged training of, besides lines that are still being written."""
    if not metrics.exists():
        return set()
    lines = metrics.read_text().splitlines(keepends=True)
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return {entry["task"] for entry in entries if entry["type"] == "train"}
