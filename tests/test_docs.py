"""The documentation builds without a warning, and the files it prints run as it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import gymnasium
import pytest

from lifelong_rl.cli.main import main
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer, RenderingError
from lifelong_rl.envs.tasks import get_task

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HOW_TOS = ["add_a_task", "add_a_sequence", "add_a_method", "add_an_agent"]
SMALL = "--steps-per-task 64 --num-envs 4 --eval-episodes 2 --eval-points 1 --quiet --run-dir run"
SAC = "--agent-options learning_starts=32 batch_size=16"


def read_how_to(page: str) -> tuple[list[str], list[str], dict[str, dict[str, str]]]:
    """The files that a page prints, the first command under it and the entry points it names."""
    text = (DOCS / f"{page}.md").read_text()
    examples = re.findall(r"```\{literalinclude\} (\S+)", text)
    command = re.findall(r"^    lifelong-rl (run --plugin .*)$", text, re.MULTILINE)[0]
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    return examples, command.split(), tomllib.loads(toml)["project"]["entry-points"]


def write_examples(examples: list[str], folder: Path) -> None:
    """Put the files that a page prints into a folder."""
    for example in examples:
        (folder / Path(example).name).write_text((DOCS / example).read_text())


def write_texture(folder: Path) -> None:
    """Let the lines that the page of a sequence prints make a texture."""
    (lines,) = re.findall(r"```python\n(.*?)```", (DOCS / "add_a_sequence.md").read_text(), re.S)
    subprocess.run([sys.executable, "-c", lines], cwd=folder, check=True)


def run(arguments: list[str], folder: Path) -> dict[str, object]:
    """Run the command line in a folder that holds what is needed, and return the results."""
    small = SMALL if "reinforce" in arguments else f"{SMALL} {SAC}"
    done = subprocess.run(
        [sys.executable, "-m", "lifelong_rl", *arguments, *small.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads((folder / "run" / "results.json").read_text())
    return found


def check(results: dict[str, object], command: list[str]) -> None:
    """What the command names is what was run."""
    for kind in ("sequence", "agent", "method"):
        assert f"--{kind}" not in command or results[kind] in command
    assert "reach,hover" not in command or results["tasks"] == ["reach", "hover"]


@pytest.mark.parametrize("page", HOW_TOS)
def test_a_how_to_runs_as_printed(page: str, tmp_path: Path) -> None:
    examples, command, _ = read_how_to(page)
    write_examples(examples, tmp_path)
    if page == "add_a_sequence":
        write_texture(tmp_path)
    check(run(command, tmp_path), command)


@pytest.mark.parametrize("path", sorted((DOCS / "examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_stream_runs_as_printed(path: Path, tmp_path: Path) -> None:
    found = run(["run", "--sequence", str(path)], tmp_path)
    assert found["sequence"] == path.stem
    assert f"examples/{path.name}" in (DOCS / "streams.md").read_text()


def test_the_other_commands_of_a_sequence_run_as_printed(
    tmp_path: Path,
    fresh_registries: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All commands of the page but `run`, in one process."""
    try:
        Renderer(BatchEnv(get_task("reach"), 1), width=16, height=16).close()
    except RenderingError as error:
        pytest.skip(str(error))
    text = (DOCS / "add_a_sequence.md").read_text()
    examples, _, _ = read_how_to("add_a_sequence")
    write_examples(examples, tmp_path)
    write_texture(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "beacon", raising=False)
    registry = dict(gymnasium.registry)
    monkeypatch.setattr(gymnasium.envs.registration, "registry", registry)
    monkeypatch.setattr(gymnasium, "registry", registry)
    commands = re.findall(r"^    lifelong-rl ((?!run ).*)$", text, re.MULTILINE)
    assert [command.split()[0] for command in commands] == [
        *("doctor", "list", "demos", "record", "frames"),
    ]
    for command in commands:
        assert main(command.split()) == 0
    out = capsys.readouterr().out
    assert "plug-in beacon: tasks beacon; sequences lights" in out
    assert (
        "task beacon v0+" in out and "beacon    100/100" in out and "beacon  solved 1 of 1" in out
    )
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("__")) == [
        *("beacon.gif", "beacon.obj", "beacon.png", "beacon.py", "beacon.xml", "frames"),
    ]
    sys.modules.pop("beacon", None)


@pytest.mark.parametrize("page", HOW_TOS)
def test_a_how_to_runs_as_an_installed_package(page: str, tmp_path: Path) -> None:
    examples, command, entry_points = read_how_to(page)
    write_examples(examples, tmp_path)
    if page == "add_a_sequence":
        write_texture(tmp_path)
    info = tmp_path / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    plugin = command.index("--plugin")
    check(run(command[:plugin] + command[plugin + 2 :], tmp_path), command)


def test_the_readmes_method_is_the_one_of_the_how_to() -> None:
    (code,) = re.findall(
        r"```python\n# stay_close\.py\n(.*?)```", (ROOT / "README.md").read_text(), re.S
    )
    assert (DOCS / "examples/stay_close.py").read_text().endswith(code)


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "commands.html").read_text()
    assert "--steps-per-task" in commands


@pytest.mark.golden
def test_the_ranking_of_objectives_is_that_of_the_results() -> None:
    ranking = json.loads((DOCS / "results/rank_objectives.json").read_text())
    rows = re.findall(
        r"^\| (\S+) \| ([\d.]+) \| ([\d.]+) \| (\d*) \|", (DOCS / "encoders.md").read_text(), re.M
    )
    assert [row[0] for row in rows] == ranking["ranking"]
    for name, *shown in rows:
        found = ranking["results"][name]
        errors = [f"{found['probe'][label]['error']:.1f}" for label in ("object", "hand")]
        assert shown == [*errors, str(found.get("steps", ""))]


@pytest.mark.golden
def test_what_is_said_of_encoders_that_learn_on_is_what_was_found() -> None:
    found = json.loads((DOCS / "results/continual_encoders.json").read_text())["results"]
    grown = {
        (method, label): [end - learned[k] for k, end in enumerate(table[-1][:-1])]
        for method, told in found.items()
        for label in ("hand", "object")
        for table in [told["readouts"]["fresh"][label]["error"]]
        for learned in [[row[k] for k, row in enumerate(table[1:])]]
    }
    hand = [change for method in found for change in grown[method, "hand"]]
    assert f"{-max(hand):.1f} to {-min(hand):.1f} cm less" == "0.0 to 3.1 cm less"
    worse = {m: [k for k, c in enumerate(grown[m, "object"]) if c > 0.005] for m in found}
    assert worse == {"finetune": [1, 2, 3], "replay": [3], "cassle": [3], "lump": [], "joint": []}
    others = {method: sum(grown[method, "object"][1:]) / 3 for method in found}
    said = {"finetune": 0.36, "replay": 0.01, "cassle": 0.01, "lump": -0.16, "joint": -0.12}
    assert others == pytest.approx(said, abs=0.006)


TOLD = re.findall(
    r"^    \$ lifelong-rl (.*)\n    (lifelong-rl: .*)$",
    (DOCS / "troubleshooting.md").read_text(),
    re.MULTILINE,
)


@pytest.mark.parametrize("command, message", TOLD, ids=[command for command, _ in TOLD])
def test_troubleshooting_quotes_what_is_printed(command, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    assert capsys.readouterr().err.splitlines()[-1] == message
    assert not list(tmp_path.iterdir())


def test_troubleshooting_quotes_enough():
    assert len(TOLD) > 5
