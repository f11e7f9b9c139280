"""`--device`: what it takes, what it answers to mistakes, and what a run tells of its device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from pretend_device import PRETEND, pretend_device
from toy_runs import PLUGIN, SMALL, TOY, metric_lines, results, run_toy

from lifelong_rl.cli import main
from lifelong_rl.errors import UserError
from lifelong_rl.learning.devices import find_gpus, open_device, spread
from lifelong_rl.runs import installation

TINY = [
    *("--sequence", "split-digits", "--agent", "classifier", "--method", "replay"),
    *("--method-options", "per_task=8", "--agent-options", "hidden=[8]", "batch_size=8"),
    *(
        "--steps-per-task",
        "8",
        "--eval-episodes",
        "10",
        "--eval-points",
        "1",
        "--quiet",
    ),
]


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    "name, end",
    [
        ("gpu", "not 'gpu'; did you mean 'cuda'?"),
        ("cdua", "not 'cdua'; did you mean 'cuda'?"),
        ("cuda:", "not 'cuda:'; did you mean 'cuda'?"),
        ("cuda:-1", "not 'cuda:-1'; did you mean 'cuda'?"),
        ("CPU", "not 'CPU'"),
    ],
)
@pytest.mark.parametrize("command", ["run", "resume r", "eval r", "probe e --frames f", "sweep s"])
def test_an_unknown_device(
    command: str, name: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint(capsys, *command.split(), "--device", name)
    assert line.startswith("lifelong-rl: device must be ") and line.endswith(end)
    assert "auto, cpu, cuda, cuda:N or mps" in line


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there_is_told_before_anything_is_made(
    name: str, no_gpu: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", *TOY, *SMALL, "--run-dir", str(tmp_path / "run"), "--device", name]
    line = complaint(capsys, *run)
    assert f"there is no device '{name}': " in line and "choose --device cpu, or auto" in line
    assert not any(tmp_path.iterdir())


def test_a_gpu_beyond_the_last(two_gpus: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert open_device("cuda:1") == torch.device("cuda", 1)
    line = complaint(capsys, "run", *TOY, "--run-dir", str(tmp_path / "r"), "--device", "cuda:7")
    assert line.endswith("there is no device 'cuda:7': this machine has cuda:0 to cuda:1")
    assert not any(tmp_path.iterdir())


def test_auto_takes_what_there_is(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_device("auto") == torch.device("cpu") and find_gpus() == []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert open_device("auto") == open_device("mps") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert open_device("auto") == open_device("cuda") == torch.device("cuda", 0)


def test_names_are_spread_over_gpus(two_gpus: None) -> None:
    assert (
        spread(["cuda"]) == spread(["auto"]) == spread(["cuda:0", "cuda"]) == ["cuda:0", "cuda:1"]
    )
    assert spread(["cuda:1", "cuda:1"]) == ["cuda:1"]
    assert spread(["cpu"]) == ["cpu"]
    with pytest.raises(UserError, match="name GPUs, or the CPU alone"):
        spread(["cpu", "cuda:1"])
    with pytest.raises(UserError, match="there is no device 'cuda:2'"):
        spread(["cuda:2"])


def test_a_plug_in_that_knows_no_device_is_named(
    two_gpus: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", *TOY, *SMALL, "--run-dir", str(tmp_path / "run"), "--device", "cuda"]
    line = complaint(capsys, *run)
    assert "the agent 'toy' learns on the CPU alone" in line
    assert not any(tmp_path.iterdir())


@pytest.mark.device
def test_a_run_goes_on_on_another_device_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Begun on a GPU that is pretended, gone on with on the CPU: the numbers of the CPU."""
    path = tmp_path / "run"
    assert main(["run", *TINY, "--run-dir", str(tmp_path / "cpu")]) == 0
    with monkeypatch.context() as patch, pretend_device():
        patch.setattr("lifelong_rl.runs.setup.open_device", lambda name: PRETEND)
        assert main(["run", *TINY, "--run-dir", str(path), "--device", "auto"]) == 0
        assert main(["resume", str(path), "--from", "task-004", "--quiet"]) == 0
        assert "device" not in capsys.readouterr().err
    assert yaml.safe_load((path / "config.yaml").read_text())["device"] == "auto"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    capsys.readouterr()
    resume = ["resume", str(path), "--from", "task-001", "--device", "cpu", "--quiet"]
    assert main(resume) == 0
    said = "the run goes on on another device: pretend:0 → cpu; its numbers may not be those of"
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "device" in line]
    assert said in line
    sessions = json.loads((path / "manifest.json").read_text())["sessions"]
    assert [session["device"] for session in sessions] == ["pretend:0", "pretend:0", "cpu"]
    assert sessions[-1]["notes"] == [line.partition("warning: ")[2]]
    alone, gone_on = results(tmp_path / "cpu"), results(path)
    for name in ("performance_matrix", "return_matrix", "success_curves"):
        assert gone_on[name] == alone[name]


def test_the_same_device_again_is_not_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "run"
    run_toy(path, "--quiet")
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["sessions"][0].pop("device") == "cpu"  # as earlier versions wrote it
    (path / "manifest.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    assert main(["resume", *PLUGIN, str(path), "--from", "task-001", "--quiet"]) == 0
    assert "device" not in capsys.readouterr().err
    assert metric_lines(path)


def test_what_a_run_learned_on_does_not_keep_it_from_being_evaluated(
    no_gpu: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    run_toy(path, "--quiet")
    config = path / "config.yaml"
    config.write_text(config.read_text().replace("device: cpu", "device: cuda"))
    assert "there is no device 'cuda'" in complaint(capsys, "eval", *PLUGIN, str(path))
    assert main(["eval", *PLUGIN, str(path), "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    "words, problem",
    [
        (["--per-device", "2"], "--per-device is for cells on a GPU"),
        (["--per-device", "2", "--device", "cpu"], "--per-device is for cells on a GPU"),
        (
            ["--per-device", "3", "--device", "cuda", "--processes", "4"],
            "--per-device 3 on cuda:0, cuda:1 is 6 cells at a time, and --processes allows 4",
        ),
        (["--device", "cpu", "--device", "cuda"], "name GPUs, or the CPU alone"),
        (["--device", "cuda:2"], "there is no device 'cuda:2': this machine has cuda:0 to cuda:1"),
    ],
)
def test_a_sweep_refuses_what_contradicts_itself(
    words: list[str],
    problem: str,
    two_gpus: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("sequences: toy3\nagents: toy\nmethods: ewc\nseeds: 0\n")
    assert problem in complaint(capsys, "sweep", *PLUGIN, "s.yaml", *words)
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


def test_a_sweep_tells_what_it_runs_on(
    two_gpus: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("sequences: toy3\nagents: toy\nmethods: ewc\nseeds: [0, 1]\n")
    words = ["--device", "cuda", "--per-device", "2", "--processes", "4", "--dry-run"]
    assert main(["sweep", *PLUGIN, "s.yaml", *words]) == 0
    assert "2 to do; 4 at a time on cuda:0, cuda:1" in capsys.readouterr().out


def test_doctor_shows_the_devices(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Card:
        name, total_memory = "Some Card", 24 * 2**30

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Card)
    monkeypatch.setattr(installation, "check_rendering", lambda: ("warn", "no rendering"))
    assert main(["doctor"]) == 0
    lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()[:-1]]
    shown = [line for line in lines if line.startswith("device ")]
    assert shown == [
        "device cpu, the default",
        "device cuda:0: Some Card, 24 GiB of memory",
        "device cuda:1: Some Card, 24 GiB of memory",
    ]
