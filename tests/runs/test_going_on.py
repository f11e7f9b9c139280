"""Real agents in real environments, stopped within a task and gone on with: the same to the bit.

Every learner with every method is in `tests/test_contract.py`, on tiny tasks; here is what only
the loop and the environments bring along.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from toy_runs import metric_lines, results, without_speed

from lifelong_rl.cli import main
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.runs.loop import SequenceLoop

SMALL = (
    *("--steps-per-task", "64", "--num-envs", "4", "--num-threads", "1"),
    *("--eval-episodes", "2", "--eval-points", "3", "--quiet"),
)
TWO = ("--sequence", "reach,push")
SAC = ("learning_starts=16", "hidden=[8]", "batch_size=8")
CASES: dict[str, tuple[str, ...]] = {
    # all tasks side by side, in a buffer that is kept and full from the second phase on
    "joint": (
        *(*TWO, "--method", "joint"),
        *("--agent-options", *SAC, "buffer_size=80"),
    ),
    "ppo": (*TWO, "--agent", "ppo", "--agent-options", "rollout_steps=4", "batch_size=8"),
    "split-digits": ("--sequence", "split-digits", "--agent", "classifier", "--method", "si"),
    # within a drift, behind a switch that nobody was told of
    "stream": (
        "--sequence",
        'stream:{"task_free": true, "phases": [{"env": "reach"}, '
        '{"env": "push", "changes": {"friction": [1, 0.5]}}, {"env": "reach"}]}',
        *("--agent-options", *SAC),
    ),
    # within episodes that end before the time is out, with actions of which some do not count
    "gym": (
        *("--sequence", "gym:Reacher-v5,gym:InvertedPendulum-v5"),
        *("--method", "ewc", "--agent-options", *SAC),
    ),
    "gym-ppo": (
        *("--sequence", "gym:Reacher-v5,gym:InvertedPendulum-v5", "--agent", "ppo"),
        *("--agent-options", "rollout_steps=4", "batch_size=8"),
    ),
}
SEEING = (
    *(*TWO, "--observation", "pixels", "--frame-stack", "2", "--method", "si", "--no-diagnostics"),
    *("--agent-options", *SAC),
)


def run(folder: Path, *words: str) -> int:
    return main(["run", *SMALL, *words, "--run-dir", str(folder)])


def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(whole, *words) == 0
    progress = SequenceLoop._progress

    def stopping(loop: SequenceLoop, steps: int) -> None:
        progress(loop, steps)
        if loop._phase == 1 and loop._phase_step >= 40 and not list(parts.rglob("*-step-*")):
            os.kill(os.getpid(), signal.SIGUSR1)

    with monkeypatch.context() as patch:
        patch.setattr(SequenceLoop, "_progress", stopping)
        assert run(parts, *words) == 138
    (kept,) = (parts / "checkpoints").glob("task-001-step-*")
    assert 40 <= int(kept.name.rpartition("-")[2]) < 64
    assert main(["resume", str(parts), "--quiet"]) == 0
    found, expected = results(parts), results(whole)
    found.pop("cost"), expected.pop("cost")
    assert found == expected
    assert without_speed(metric_lines(parts)) == without_speed(metric_lines(whole))
    names = sorted(os.listdir(whole / "checkpoints"))
    assert sorted(os.listdir(parts / "checkpoints")) == names
    for name in names:
        file = f"checkpoints/{name}/state.safetensors"
        assert (parts / file).read_bytes() == (whole / file).read_bytes()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lifelong_rl.storage.metrics_log.wait_for_next_name", lambda events: None)


@pytest.mark.parametrize("words", CASES.values(), ids=CASES)
def test_stopped_within_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    check(tmp_path, monkeypatch, words)


@pytest.mark.slow
def test_what_sees_is_stopped_within_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        Renderer(BatchEnv(get_task("reach"), 1), width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))
    check(tmp_path, monkeypatch, SEEING)
