"""From runs that a protocol was told to, to the row that they make."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy_runs import PLUGIN, results

from lifelong_rl.analysis.rows import read_row
from lifelong_rl.cli import main
from lifelong_rl.registry import load_plugins
from lifelong_rl.runs import protocol
from lifelong_rl.storage import versions
from lifelong_rl.storage.atomic import write_json

ROOT = Path(__file__).parents[2]
TINY = {"steps_per_task": 40, "num_envs": 4, "eval_episodes": 6, "curve_episodes": 2}
COMMIT = "f" * 40


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Any:
    """A protocol that takes no time, of the toy plug-in."""
    folder = tmp_path / "protocols"
    folder.mkdir()
    content = yaml.safe_load((protocol.FOLDER / "v1.yaml").read_text())
    content["runs"] |= TINY
    content["reported"]["tracks"] = {"toy3-toy": {"sequence": "toy3", "agent": "toy"}}
    content["reported"]["tracks"]["toy3-toy"]["steps_per_task"] = 40
    content["tuning"]["tracks"] = {}
    (folder / "v0.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(protocol, "FOLDER", folder)
    load_plugins(["toy_plugin"])
    spec = importlib.util.spec_from_file_location("freeze", ROOT / "scripts/freeze_protocol.py")
    assert spec is not None and spec.loader is not None
    freeze = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(freeze)
    found = protocol.read_protocol("v0")
    write_json(folder / "v0.json", freeze.describe(found))
    monkeypatch.setattr(versions, "git_commit", lambda: COMMIT)
    yield found
    protocol.read_protocol.cache_clear()


def run(path: Path, seed: int, *more: str) -> int:
    words = ["run", *PLUGIN, "--protocol", "v0", "--sequence", "toy3", "--agent", "toy"]
    words += ["--method", "ewc", "--seed", str(seed), "--run-dir", str(path), "--quiet", *more]
    return main(words)


def test_runs_that_follow_a_protocol_make_a_row(tiny, tmp_path, capsys):
    for seed in (100, 101):
        assert run(tmp_path / "runs" / str(seed), seed, "--num-threads", "1") == 0
    found = results(tmp_path / "runs/100")
    assert (found["protocol"], found["eval_starts"]) == ("v0", "test")
    assert found["budget"] == {**TINY, "eval_points": 10}
    out = tmp_path / "row.json"
    words = ["submit", str(tmp_path / "runs"), "--out", str(out), *PLUGIN]
    assert main(words) == 0
    assert f"{out}: ewc on toy3-toy, default, 2 seeds" in capsys.readouterr().out
    row = read_row(out)
    assert row.commit == COMMIT and row.seeds == [100, 101]
    assert row.runs[0].episodes == found["episodes"]
    assert row.outcomes[0].mean(axis=-1).tolist() == found["performance_matrix"]
    assert all(run.cpu_seconds > 0 for run in row.runs)
    assert main([*words, "--overwrite"]) == 0
    assert dataclasses.asdict(read_row(out)) == dataclasses.asdict(row)


def test_runs_that_went_their_own_way_make_none(tiny, tmp_path, capsys):
    assert run(tmp_path / "runs/a", 3) == 2
    assert "protocol v0 fixes in its track toy3-toy: seeds 100 to 109, not 3" in (
        capsys.readouterr().err
    )
    own = ["--method-options", "strength=3"]
    assert run(tmp_path / "runs/a", 100, *own) == 0 == run(tmp_path / "runs/b", 101, *own)
    assert main(["submit", str(tmp_path / "runs"), "--out", str(tmp_path / "rows")]) == 2
    assert "options are tuned and there is no tuning" in capsys.readouterr().out
    assert not (tmp_path / "rows").exists()


def test_without_runs_it_asks_for_some(capsys):
    assert main(["submit"]) == 2
    assert "say what to submit: lifelong-rl submit RUN_DIR" in capsys.readouterr().err
