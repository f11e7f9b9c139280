"""What comes from somebody else is opened without running any of it: see SECURITY.md."""

import io
import pickle
import re
import shlex
import shutil
import sys
from pathlib import Path

import damage
import numpy as np
import pytest
import subjects
import torch
from toy_runs import PLUGIN, SMALL, TOY, run_toy

from lifelong_rl.cli import main
from lifelong_rl.errors import UserError
from lifelong_rl.runs.restore import open_loop
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.studies.study import read_study

EVIL = "from pathlib import Path\nPath(__file__).with_name('executed').touch()\n"
MODULES = ("evil.py", "random.py", "envs/__init__.py", "torch/__init__.py", "sitecustomize.py")
"""What a folder may hold for somebody who starts Python in it."""
ROOT = Path(__file__).parents[2]
SUBJECT = subjects.SUBJECTS["toy"]
STUDY = "sequences: toy3\nagents: toy\nmethods: finetune\nseeds: 0\nplugin: [evil]\n"


@pytest.fixture
def stranger(toy_run, tmp_path, monkeypatch, fresh_registries):
    """A run folder of a stranger, which is the working directory, and where Python looks."""
    folder = Path(shutil.copytree(toy_run, tmp_path / "stranger"))
    for name in MODULES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(EVIL)
    info = folder / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lifelong_rl.methods]\nevil = evil:Evil\n")
    (folder / "matplotlibrc").write_text("backend: module://evil\ntext.usetex: True\n")
    (folder / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    name_plugin(folder, "evil")
    yield folder
    for module in ("evil", "sitecustomize"):
        sys.modules.pop(module, None)


def name_plugin(folder, *modules):
    config = folder / "config.yaml"
    before, _, _ = config.read_text().partition("plugin:")
    config.write_text(f"{before}plugin: [{', '.join(modules)}]\n")


def executed(folder):
    return [path for path in folder.rglob("executed")] + ["evil"] * ("evil" in sys.modules)


NAMING = [
    ["eval", "."],
    ["resume", "."],
    ["resume", ".", "--from", "task-001"],
    ["record", "--run-dir", ".", "--out", "clips", "--format", "gif"],
    ["run", "--config", "config.yaml", "--run-dir", "../new"],
    ["sweep", "study.yaml"],
    ["sweep", "study.yaml", "--dry-run"],
]
"""Commands that would have to import what the folder names."""


@pytest.mark.parametrize("command", NAMING, ids=" ".join)
@pytest.mark.parametrize("named", [[], PLUGIN], ids=["none", "another"])
def test_a_plugin_that_a_file_names_is_not_imported(stranger, capsys, command, named):
    searched = [*sys.path]
    if command[0] == "resume":
        (stranger / "results.json").unlink()
    assert main([*command, *named]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the plug-in 'evil' is named by a file alone" in line
    assert line.endswith("add --plugin evil")
    assert executed(stranger) == [] and sys.path == searched
    assert not (stranger.parent / "new").exists()


READING = [
    ["compare", ".", "--out", "out.html", "--figures", "figures"],
    ["report", ".", "--out", "page.html", "--files", "files"],
    ["resume", "."],  # it has finished, and is not gone on with
    ["list"],
    ["list", "methods"],
    ["list", *PLUGIN],
    ["probe", "evil.py", "--frames", "evil.py"],
    ["pretrain", "--frames", "evil.py", *PLUGIN],
    ["doctor"],
]
"""Commands that read what others have made, or are started beside it."""


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_what_only_reads_imports_nothing(stranger, capsys, command):
    searched = [*sys.path]
    code = main(command)
    assert code == (2 if command[0] in ("probe", "pretrain") else 0), capsys.readouterr().err
    assert executed(stranger) == [] and sys.path == searched


@pytest.mark.parametrize("command", NAMING[:2], ids=" ".join)
def test_a_plugin_from_elsewhere_does_not_open_the_folder(stranger, capsys, command):
    """To name a plug-in that is installed says nothing about what lies in the folder."""
    searched = [*sys.path]
    name_plugin(stranger, "toy_plugin")
    assert main([*command, *PLUGIN]) == 0
    assert executed(stranger) == [] and sys.path == searched


def test_a_plugin_that_is_named_again_is_imported(stranger, capsys):
    main(["eval", ".", "--plugin", "evil"])
    assert executed(stranger) == [Path.cwd() / "executed", "evil"]


@pytest.mark.parametrize("name", ["evil; rm -rf ~", "evil\n", "$(evil)", "", "."])
def test_what_is_to_be_typed_is_the_name_of_a_module(stranger, capsys, name):
    name_plugin(stranger, repr(name).replace("'", '"'))
    assert main(["eval", "."]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is no name of a module" in line or "a control character" in line
    assert executed(stranger) == []


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def torch_file(bomb):
    box = io.BytesIO()
    torch.save(bomb, box)
    return box.getvalue()


def array_file(bomb):
    box = io.BytesIO()
    np.savez(box, metadata=np.array([bomb], object), lengths=np.array([bomb], object))
    return box.getvalue()


@pytest.mark.parametrize("make", [pickle.dumps, torch_file, array_file])
def test_no_pickle_is_read(toy_run, tmp_path, monkeypatch, make):
    """In place of a file of any kind."""
    monkeypatch.setenv("LIFELONG_RL_CACHE", str(tmp_path / "cache"))
    trace, reference = tmp_path / "exploded", subjects.Reference(SUBJECT, toy_run, {}, 0.0)
    kinds = damage.make_kinds(reference, tmp_path)
    content = make(Bomb(trace))
    if make is pickle.dumps:
        pickle.loads(content)
        trace.unlink()  # it does leave one
    for kind, file in kinds.items():
        outcome = damage.damage(kind, file, lambda good: content, make.__name__)
        assert outcome.problems == [] and not trace.exists()
        ends = {"dataset in the cache": "read as it was", "metrics.jsonl": "not noticed"}
        assert outcome.kind == ends.get(kind, "refused"), kind


def test_every_claim_of_the_page_names_a_test():
    page = (ROOT / "SECURITY.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) >= 7
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text(), test


def test_the_same_in_python(stranger):
    folder = RunFolder.open(Path())
    for open_it in (
        lambda: prepare(folder.config),
        lambda: open_loop(folder),
        lambda: read_study(Path("study.yaml")),
    ):
        with pytest.raises(UserError, match="add --plugin evil"):
            open_it()
    assert executed(stranger) == []


def test_the_cells_of_a_sweep_leave_other_plugins_alone(stranger, tmp_path, monkeypatch, capsys):
    """A folder of runs may be somebody's too."""
    runs = tmp_path / "runs"
    shutil.copytree(stranger, runs / "toy3-toy-finetune-seed0")
    (stranger / "study.yaml").write_text(STUDY.replace("[evil]", "[toy_plugin]"))
    assert main(["sweep", "study.yaml", "--runs", str(runs), *PLUGIN]) == 1
    assert "holds another run (plugin ['evil'], not ['toy_plugin'])" in capsys.readouterr().out
    assert executed(runs) == executed(stranger) == []


def test_the_printed_commands_name_the_plugins(tmp_path, capsys):
    path = tmp_path / "run"
    assert run_toy(path) == 0
    *_, line = capsys.readouterr().out.splitlines()
    command = shlex.split(line.removeprefix("evaluate:  lifelong-rl "))
    assert command == ["eval", str(path), "--episodes", "100", *PLUGIN]
    assert main(command) == 0
    capsys.readouterr()
    assert main(["run", *TOY, *SMALL, "--run-dir", str(path)]) == 2
    assert f"lifelong-rl eval {path} --plugin toy_plugin, or" in capsys.readouterr().err
