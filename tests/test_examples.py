"""What the documentation gives as an example learns: every task, not the first alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_plugin  # noqa: F401 (registers toy3)

from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.loop import SequenceLoop
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare

EXAMPLES = Path(__file__).parents[1] / "docs/examples"


@pytest.fixture(autouse=True)
def examples(fresh_registries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in EXAMPLES.glob("*.py"):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)


def learn(path: Path, **config: Any) -> np.ndarray:
    """The performance matrix of a run, (tasks + 1, tasks)."""
    setup = prepare(RunConfig(eval_points=1, num_threads=1, diagnostics=False, **config))
    loop = SequenceLoop(setup)
    folder = RunFolder.create(path, setup.config)
    try:
        return np.array(loop.run(folder)["performance_matrix"])
    finally:
        folder.unlock()


def learned(matrix: np.ndarray) -> np.ndarray:
    """Success right after learning each task, (tasks,)."""
    return matrix[1:].diagonal()


def compare_stay_close(path: Path, **config: Any) -> None:
    """The README's method learns every task about as well as fine-tuning, and forgets less."""
    plain = learn(path / "plain", method="finetune", **config)
    held = learn(path / "held", method="stay-close", **config)
    assert (learned(plain) >= 0.8).all(), plain
    assert (learned(held) >= learned(plain) - 0.15).all(), (held, plain)
    assert held[-1].mean() > plain[-1].mean() + 0.2, (held, plain)


def test_the_readmes_method_lets_later_tasks_be_learned(tmp_path: Path) -> None:
    compare_stay_close(
        tmp_path,
        sequence="reach,drawer-open",
        agent="bc",
        agent_options={"batch_size": 256, "updates_per_step": 0.5},
        steps_per_task=1000,
        eval_episodes=20,
    )


@pytest.mark.slow
def test_the_readmes_command_learns_its_tasks(tmp_path: Path) -> None:
    compare_stay_close(tmp_path, sequence="arm3", agent="sac")


@pytest.mark.slow
def test_the_task_from_outside_is_learned_after_another(tmp_path: Path) -> None:
    matrix = learn(tmp_path / "run", sequence="reach,hover", agent="bc", steps_per_task=2000)
    assert (learned(matrix) >= 0.8).all(), matrix


@pytest.mark.slow
def test_the_agent_from_outside_learns_one_task_after_another(tmp_path: Path) -> None:
    matrix = learn(
        tmp_path / "run",
        sequence="toy3",
        agent="reinforce",
        agent_options={"learning_rate": 0.01},
        steps_per_task=20_000,
        num_envs=4,
    )
    assert (matrix[0] < 0.2).all() and (learned(matrix) - matrix[0] > 0.3).all(), matrix
