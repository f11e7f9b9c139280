"""The textbook picture: what clean digits teach is wrong for noisy ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.loop import SequenceLoop
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare

pytestmark = pytest.mark.slow


def lost_on_noisy_digits(method: str, seed: int, path: Path) -> float:
    """Accuracy on noisy digits before the clean ones, less that after them."""
    config = RunConfig(
        sequence="noisy-digits",
        agent="classifier",
        method=method,
        seed=seed,
        num_envs=1,
        eval_episodes=360,
        eval_points=2,
        num_threads=1,
    )
    setup = prepare(config)
    loop = SequenceLoop(setup)
    folder = RunFolder.create(path, setup.config)
    try:
        matrix = loop.run(folder)["performance_matrix"]
    finally:
        folder.unlock()
    return float(matrix[1][0] - matrix[2][0])


def test_fine_tuning_forgets_noisy_digits_and_joint_training_does_not(tmp_path: Path) -> None:
    lost = {
        method: [
            lost_on_noisy_digits(method, seed, tmp_path / f"{method}{seed}") for seed in range(3)
        ]
        for method in ("finetune", "joint")
    }
    assert min(lost["finetune"]) > 0.05
    assert abs(np.mean(lost["joint"])) < 0.03
    assert min(lost["finetune"]) > max(lost["joint"])
