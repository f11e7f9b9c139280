"""`lifelong-rl pretrain` and `lifelong-rl probe`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from moving_square import moving_squares

from lifelong_rl.cli.main import COMMANDS, main
from lifelong_rl.cli.pretrain import Pretrain
from lifelong_rl.cli.probe import Probe
from lifelong_rl.vision.encoder import Encoder, save_encoder
from lifelong_rl.vision.frames import save_frames

QUICK = ["--steps", "3", "--batch-size", "16", "--threads", "1"]


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "pretrain", Pretrain)
    monkeypatch.setitem(COMMANDS, "probe", Probe)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "squares.npz"
    save_frames(path, moving_squares(episodes=10, length=10))
    return path


@pytest.fixture
def encoder(frames: Path, tmp_path: Path) -> Path:
    path = tmp_path / "encoder"
    assert main(["pretrain", "--frames", str(frames), *QUICK, "--out", str(path), "--quiet"]) == 0
    return path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The line on stderr, after checking that it is one and that the exit code is 2."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and "Traceback" not in line
    return line


def test_pretrain_and_probe(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--frames", str(frames), "--objective", "moco", *QUICK, "--seed", "4"]
    assert main(["pretrain", *arguments, "--options", "version=1", "queue=64"]) == 0
    captured = capsys.readouterr()
    assert [line.split()[1] for line in captured.out.splitlines()[:3]] == ["1/3", "2/3", "3/3"]
    folder = Path("encoders/squares-moco-seed4")
    assert f"{folder}/encoder.safetensors  3 steps in" in captured.out
    assert f"lifelong-rl probe {folder} --frames {frames}" in captured.out
    assert captured.err == "" or captured.err.startswith("lifelong-rl: warning: moco has")
    options = json.loads((folder / "manifest.json").read_text())["config"]["options"]
    assert options["version"] == 1 and options["queue"] == 64 and options["momentum"] == 0.99

    probe = ["probe", str(folder), "--frames", str(frames), "--threads", "1"]
    assert main([*probe, "--supervised-steps", "2", "--json", "deep/worth.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["mean", "this encoder", "random encoder", "pixel PCA", "supervised from pixels"]
    assert [line.split("  ")[0] for line in lines[2:]] == names
    content = json.loads(Path("deep/worth.json").read_text())
    assert list(content["results"]) == names
    assert content["frames"]["pretrained_on"] is True
    assert content["frames"]["split"]["test"] == {"frames": 20, "episodes": 2}
    hand = content["results"]["this encoder"]["probe"]["hand"]
    assert f"{hand['r2']:.2f}" in lines[3] and f"{hand['error']:.1f}" in lines[3]


def test_other_frames_are_told(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.npz"
    save_frames(other, moving_squares(episodes=10, length=10, seed=1))
    arguments = ["--frames", str(other), "--supervised-steps", "0", "--threads", "1"]
    assert main(["probe", str(encoder / "encoder.safetensors"), *arguments]) == 0
    out = capsys.readouterr().out
    assert "these are not the frames that it was pretrained on" in out and "MuJoCo" not in out


def test_frames_of_another_simulator_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = moving_squares(episodes=10, length=10)
    made = {
        "config": {"objective": "simclr"},
        "steps": 3,
        "camera": "front",
        "frames": {"sha256": "0", "metadata": {"mujoco": "3.1.0"}},
    }
    save_encoder(tmp_path / "old.safetensors", Encoder(), made)
    newer = dataclasses.replace(frames, metadata={**frames.metadata, "mujoco": "3.2.0"})
    save_frames(tmp_path / "newer.npz", newer)
    arguments = ["--frames", str(tmp_path / "newer.npz"), "--supervised-steps", "0"]
    assert main(["probe", str(tmp_path / "old.safetensors"), *arguments, "--threads", "1"]) == 0
    said = "it was pretrained on frames of MuJoCo 3.1.0, and these are of 3.2.0"
    assert said in capsys.readouterr().out.splitlines()


def test_collapse_is_warned_of_in_one_line(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--frames", str(frames), "--objective", "rotation", *QUICK, "--quiet"]
    assert main(["pretrain", *arguments, "--lr", "1e-12", "--out", str(tmp_path / "e")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lifelong-rl: warning: rotation has learned nothing: its loss ")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["pretrain"], "--frames"),
        (["pretrain", "--frames", "nowhere"], "nowhere cannot be read: No such file"),
        (["pretrain", "--frames", "F", "--objective", "simclrr"], "did you mean 'simclr'?"),
        (["pretrain", "--frames", "F", "--options", "tau=1"], "unknown simclr option 'tau'"),
        (
            ["pretrain", "--frames", "F", "--options", "margin=x"],
            "must be a whole number of at least 0, not 'x'",
        ),
        (["pretrain", "--frames", "F", "--camera", "sid"], "did you mean 'side'?"),
        (
            ["pretrain", "--frames", "F", "--steps", "0"],
            "steps must be a whole number of at least 1, not 0",
        ),
        (
            ["pretrain", "--frames", "F", "--shift", "-2"],
            "shift must be a whole number of at least 0",
        ),
        (["pretrain", "--frames", "F"], "80 frames, too few for a batch of 256"),
        (["pretrain", "--frames", "F", "--plugin", "no_such"], "'no_such' cannot be imported"),
        (["probe", "nowhere", "--frames", "F"], "nowhere cannot be read: No such file"),
        (["probe", ".", "--frames", "F"], ". holds no encoder.safetensors (make one with"),
        (["probe", "F", "--frames", "F"], "is not an encoder of lifelong-rl (make one with"),
        (
            ["probe", "F", "--frames", "F", "--seed", "-1"],
            "seed must be a whole number in [0, 4294967295], not -1",
        ),
    ],
)
def test_bad_input(
    frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(frames) if word == "F" else word for word in arguments]
    assert expected in refused(capsys, *words)


def test_an_encoder_for_something_else(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, side = tmp_path / "small.npz", tmp_path / "side.npz"
    save_frames(small, moving_squares(episodes=6, length=3, size=48))
    line = refused(capsys, "probe", encoder, "--frames", small)
    assert f"is for images of 64×64 pixels; {small} has 48×48" in line
    made = {"camera": "wrist", "config": {"objective": "x"}, "steps": 0, "frames": {"sha256": "y"}}
    save_encoder(tmp_path / "e", Encoder(), made)
    save_frames(side, moving_squares(episodes=6, length=3))
    line = refused(capsys, "probe", tmp_path / "e", "--frames", side)
    assert f"is for the camera 'wrist'; {side} is of front, side" in line
    save_encoder(tmp_path / "e", Encoder(), made | {"config": {}})
    line = refused(capsys, "probe", tmp_path / "e", "--frames", side)
    assert f"{tmp_path / 'e'} holds no encoder: made.config lacks 'objective'" in line
    assert "holds an encoder already" in refused(
        capsys, "pretrain", "--frames", small, "--out", encoder
    )
