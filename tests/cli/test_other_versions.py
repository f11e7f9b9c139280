"""A run that goes on under other versions than it began with, and an encoder that is older."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from toy_runs import PLUGIN, results, run_toy

from lifelong_rl.analysis.reproduction import describe_origin
from lifelong_rl.analysis.runs import find_runs
from lifelong_rl.cli import main
from lifelong_rl.storage.versions import find_changes, versions
from lifelong_rl.vision.encoder import Encoder, EncoderSpec, save_encoder
from lifelong_rl.vision.eyes import open_eyes

NOW = versions()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    assert run_toy(path, "--quiet") == 0
    return path


@pytest.fixture
def stopped(finished: Path, tmp_path: Path) -> Path:
    """As if the run had been killed in its last task."""
    path = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(path / "checkpoints" / "task-003")
    (path / "results.json").unlink()
    return path


def sessions(path: Path) -> list[dict]:
    found: list[dict] = json.loads((path / "manifest.json").read_text())["sessions"]
    return found


def began_with(path: Path, **before: str | None) -> None:
    """Let the manifest tell that the run began with other versions of these packages."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sessions"][0]["versions"].update(
        {name.replace("_", "-"): version for name, version in before.items()}
    )
    (path / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("quiet", [True, False])
def test_what_has_changed_is_told_and_kept(
    stopped: Path, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    began_with(stopped, torch="2.0.0", stable_baselines3="1.0", numpy=None, python="3.9.1")
    assert main(["resume", *PLUGIN, str(stopped), *(["--quiet"] if quiet else [])]) == 0
    changes = ", ".join(
        f"{name} {before} → {NOW[name]}"
        for name, before in {
            "python": "3.9.1",
            "torch": "2.0.0",
            "numpy": None,
            "stable-baselines3": "1.0",
        }.items()
    )
    said = f"the run goes on under other versions: {changes}; its numbers may not be those of"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"lifelong-rl: warning: {said}")
    first, last = sessions(stopped)
    assert "notes" not in first and last["versions"] == NOW
    (note,) = last["notes"]
    assert note.startswith(said)
    assert results(stopped)["versions"] == NOW
    origin = describe_origin(find_runs([stopped])[0])
    assert set(origin["torch"]) == {"2.0.0", NOW["torch"]}


def test_nothing_is_said_where_nothing_has_changed(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", *PLUGIN, str(stopped)]) == 0
    assert capsys.readouterr().err == ""
    assert all("notes" not in session for session in sessions(stopped))


def test_nothing_is_said_where_nothing_is_kept_of_what_was_done_before(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a checkpoint the run begins again; and what no manifest tells is not known."""
    began_with(stopped, torch="2.0.0")
    manifest = (stopped / "manifest.json").read_text()
    for name in ("task-002", "task-001", "task-000"):
        shutil.rmtree(stopped / "checkpoints" / name)
    assert main(["resume", *PLUGIN, str(stopped), "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    unknown = json.loads(manifest) | {"sessions": [{"versions": ["torch"]}]}
    (stopped / "manifest.json").write_text(json.dumps(unknown))
    assert main(["resume", *PLUGIN, str(stopped), "--from", "task-002", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_changes_are_of_what_both_know() -> None:
    before = {"torch": "2.0", "numpy": None, "jax": "0.4"}
    now = {"torch": "2.1", "numpy": "2.4", "mujoco": "3.17"}
    assert find_changes(before, now) == ["torch 2.0 → 2.1", "numpy None → 2.4"]
    assert find_changes(now, now) == []


@pytest.mark.parametrize(
    "metadata, said",
    [
        ({"mujoco": "3.1.0"}, f"frames of MuJoCo 3.1.0, and installed is {NOW['mujoco']}"),
        ({"mujoco": NOW["mujoco"]}, None),
        ({}, "does not tell which MuJoCo rendered the frames that it learned from"),
        ("none", "does not tell which MuJoCo rendered the frames that it learned from"),
    ],
)
def test_an_encoder_of_other_pictures_is_warned_of(
    metadata: object, said: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "encoder.safetensors"
    made = {"camera": "front", "frames": {"metadata": metadata}}
    save_encoder(path, Encoder(EncoderSpec(32, 32, dim=4, filters=2)), made)
    notes = open_eyes([path, path], ["front", "front"], frozen=True, shift=0).notes
    assert len(notes) == (0 if said is None else 2)
    for note in notes:
        assert note.startswith(f"{path} ") and said is not None and said in note
