"""The scripts that compare objectives and continual methods, and the file that they go on with."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from moving_square import moving_squares

from lifelong_rl.errors import UserError
from lifelong_rl.storage.results_file import ResultsFile
from lifelong_rl.vision.encoder import load_encoder
from lifelong_rl.vision.frames import save_frames

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("frames") / "squares.npz"
    save_frames(path, moving_squares(episodes=10, length=5, cameras=1))
    return str(path)


def test_results_go_on_where_they_were_made_alike(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.json"
    first = ResultsFile(path, {"seed": 0})
    first.results["one"] = 1
    first.write(cpu="fast")
    assert json.loads(path.read_text()) == {"seed": 0, "cpu": "fast", "results": {"one": 1}}
    assert ResultsFile(path, {"seed": 0}).results == {"one": 1}
    with pytest.raises(UserError, match=r"made otherwise \(seed: 0, not 1\); choose another file"):
        ResultsFile(path, {"seed": 1})
    path.write_text("[]")
    with pytest.raises(
        UserError, match=r"results\.json: it is \[\], not an object; choose another"
    ):
        ResultsFile(path, {"seed": 0})
    ResultsFile(None, {"seed": 0}).write()


def test_the_ranking(frames: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, out = script("rank_objectives"), tmp_path / "rank.json"
    arguments = ["--frames", frames, "--minutes", "1e-4", "--batch-size", "8", "--json", str(out)]
    module.rank([*arguments, "--objectives", "simclr", "--keep", str(tmp_path / "kept")])
    first = json.loads(out.read_text())
    assert set(first["results"]) == {*module.REFERENCES, "simclr"}
    capsys.readouterr()
    # tcn has too few clips in episodes of five frames: it is told, and the others go on
    module.rank([*arguments, "--objectives", "tcn", "rotation", "simclr"])
    printed = capsys.readouterr().out
    second = json.loads(out.read_text())
    for name, found in first["results"].items():
        assert second["results"][name] == found
        assert f"{name}: object" not in printed
    assert (
        "with another 5 frames away, too few for a batch of 8" in second["results"]["tcn"]["error"]
    )
    errors = [
        second["results"][name]["probe"]["object"]["error"] for name in second["ranking"][:-1]
    ]
    assert errors == sorted(errors) and second["ranking"][-1] == "tcn"
    lines = [line.split() for line in printed.splitlines()]
    ranks = {line[0]: line[1] for line in lines if line and line[0] in second["results"]}
    assert {ranks["simclr"], ranks["rotation"]} == {"1", "2"}
    assert ranks["random-init"] == ranks["tcn"] == "-"
    encoder, made = load_encoder(tmp_path / "kept" / "simclr.safetensors")
    assert encoder.spec.views == ("rgb",) and made["config"]["objective"] == "simclr"
    assert made["steps"] == first["results"]["simclr"]["steps"] >= 1
    with pytest.raises(UserError, match="made otherwise"):
        module.rank([*arguments, "--seed", "1"])
    with pytest.raises(UserError, match="did you mean 'simclr'"):
        module.rank(["--frames", frames, "--objectives", "simclrr"])


def test_the_comparison_of_methods(
    frames: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module, out = script("continual_encoders"), tmp_path / "methods.json"
    arguments = ["--frames", frames, "--steps", "1", "--batch-size", "8", "--json", str(out)]
    module.compare([*arguments, "--methods", "finetune"])
    first = json.loads(out.read_text())["results"]
    capsys.readouterr()
    module.compare([*arguments, "--methods", "joint", "finetune"])
    printed = capsys.readouterr().out
    second = json.loads(out.read_text())["results"]
    assert second["finetune"] == first["finetune"] and list(second) == ["finetune", "joint"]
    assert "finetune  red  step" not in printed and "joint  green  step 2" in printed
    hand = first["finetune"]["readouts"]["fresh"]["hand"]["metrics"]
    (line,) = [
        line
        for line in printed.partition("\nobject")[0].splitlines()
        if line.startswith("finetune")
    ]
    assert line.split()[2:4] == [f"{hand['learned_error']:.1f}", f"{hand['final_error']:.1f}"]
    with pytest.raises(UserError, match="did you mean 'finetune'"):
        module.compare([*arguments, "--methods", "finetun"])
