"""What the documentation gives as an example learns: every task, not the first alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_plugin  # noqa: F401 (registers toy3)

import lifelong_rl

EXAMPLES = Path(__file__).parents[1] / "docs/examples"


@pytest.fixture(autouse=True)
def examples(fresh_registries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in EXAMPLES.glob("*.py"):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)


def learn(**config: Any) -> np.ndarray:
    """The performance matrix of a run, (tasks + 1, tasks)."""
    return lifelong_rl.run(eval_points=1, num_threads=1, diagnostics=False, **config).matrix


def learned(matrix: np.ndarray) -> np.ndarray:
    """Success right after learning each task, (tasks,)."""
    return matrix[1:].diagonal()


def compare_stay_close(**config: Any) -> None:
    """The README's method learns every task about as well as fine-tuning, and forgets less."""
    plain = learn(method="finetune", **config)
    held = learn(method="stay-close", **config)
    assert (learned(plain) >= 0.8).all(), plain
    assert (learned(held) >= learned(plain) - 0.15).all(), (held, plain)
    assert held[-1].mean() > plain[-1].mean() + 0.2, (held, plain)


def test_the_readmes_method_lets_later_tasks_be_learned() -> None:
    compare_stay_close(
        sequence="reach,drawer-open",
        agent="bc",
        agent_options={"batch_size": 256, "updates_per_step": 0.5},
        steps_per_task=1000,
        eval_episodes=20,
    )


@pytest.mark.slow
def test_the_readmes_command_learns_its_tasks() -> None:
    compare_stay_close(sequence="arm3", agent="sac")


@pytest.mark.slow
def test_the_task_from_outside_is_learned_after_another() -> None:
    matrix = learn(sequence="reach,hover", agent="bc", steps_per_task=2000)
    assert (learned(matrix) >= 0.8).all(), matrix


@pytest.mark.slow
def test_the_agent_from_outside_learns_one_task_after_another() -> None:
    matrix = learn(
        sequence="toy3",
        agent="reinforce",
        agent_options={"learning_rate": 0.01},
        steps_per_task=20_000,
        num_envs=4,
    )
    assert (matrix[0] < 0.2).all() and (learned(matrix) - matrix[0] > 0.3).all(), matrix
