"""An agent without networks or data runs as any other, with what has nothing to do with them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import toy_plugin
from toy_runs import PLUGIN, metric_lines, results, run_toy

from lifelong_rl.cli import main
from lifelong_rl.registry import AGENTS

EXAMPLE = Path(__file__).parents[2] / "docs/examples/random_search.py"
SEARCH = ["--agent", "random-search", "--quiet", "--steps-per-task", "2000"]


@pytest.fixture(autouse=True)
def random_search(fresh_registries: None) -> Any:
    spec = importlib.util.spec_from_file_location("random_search", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return AGENTS.get("random-search")


def test_it_learns_with_finetune_and_diagnostics_leave_out_what_there_is_not(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    assert run_toy(run, *SEARCH) == 0
    found = results(run)
    assert found["performance_matrix"][0] == [0.0] * 3
    assert found["metrics"]["learned_performance"] > 0.8
    assert found["cost"]["parameters"] == found["cost"]["memory_bytes"] == 0
    trained = [line["values"] for line in metric_lines(run) if line["type"] == "train"]
    assert all("train/return" in values for values in trained)
    assert not any(name.startswith("diagnostics/") for values in trained for name in values)
    assert main(["eval", *PLUGIN, str(run)]) == 0
    assert main(["compare", str(run), "--reps", "9"]) == 0
    assert main(["report", str(run), "--reps", "9"]) == 0


def test_stopped_and_resumed_it_ends_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_toy(tmp_path / "through", *SEARCH) == 0
    assert run_toy(tmp_path / "resumed", *SEARCH) == 0
    assert (
        main(["resume", *PLUGIN, str(tmp_path / "resumed"), "--from", "task-001", "--quiet"]) == 0
    )
    for name in ("performance_matrix", "return_matrix", "success_curves"):
        assert results(tmp_path / "resumed")[name] == results(tmp_path / "through")[name]


@pytest.mark.parametrize("method", ["ewc", "replay", "packnet", "finetune+ewc"])
def test_a_method_that_needs_networks_says_so(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_toy(tmp_path / "run", *SEARCH, "--method", method) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"the method '{method}' needs " in line or "reacts around the learning of net" in line
    assert "the agent 'random-search'" in line
    assert not (tmp_path / "run").exists()


def test_a_method_that_needs_data_of_an_agent_that_keeps_none_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toy_plugin.ToyAgent, "task_data", lambda self, batch_size=1024: iter(()))
    assert run_toy(tmp_path / "plain", "--quiet") == 0  # diagnostics and all
    assert run_toy(tmp_path / "run", "--quiet", "--method", "ewc") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "task_data() is empty" in line and "--method finetune" in line
    monkeypatch.delattr(toy_plugin.ToyAgent, "task_data")
    assert run_toy(tmp_path / "none", "--quiet") == 0
    assert run_toy(tmp_path / "other", "--quiet", "--method", "ewc") == 2
    assert "ToyAgent has no task_data, as an Agent must have" in capsys.readouterr().err
