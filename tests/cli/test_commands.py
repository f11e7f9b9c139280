"""`resume`, `eval`, `list`, `doctor` and the help."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from toy_runs import PLUGIN, results, run_toy, snapshot

from lifelong_rl.cli import main
from lifelong_rl.runs import installation

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert run_toy(path, "--quiet") == 0
    return path


def test_eval_gives_the_rows_of_the_matrix_and_changes_nothing(finished, capsys):
    before = snapshot(finished)
    for name in ("task-000", "task-001", "task-003"):
        assert main(["eval", *PLUGIN, str(finished), "--checkpoint", name, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        row = int(name[-3:])
        assert found["tasks_learned"] == row
        success = [task["success"] for task in found["tasks"].values()]
        assert success == results(finished)["performance_matrix"][row]
    assert snapshot(finished) == before


def test_eval_table(finished, capsys):
    assert main(["eval", *PLUGIN, str(finished), "--episodes", "9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("after 3 of 3 tasks")
    assert lines[1].split() == ["task", "success", "return", "episodes"]
    assert [line.split()[0] for line in lines[2:]] == ["left", "right", "up"]
    assert lines[4].split()[3] == "9"


def test_eval_of_one_task(finished, capsys):
    assert main(["eval", *PLUGIN, str(finished), "--task", "up", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["tasks"]) == ["up"]


def test_resume_of_a_finished_run_shows_it_and_changes_nothing(finished, capsys):
    before = snapshot(finished)
    assert main(["resume", *PLUGIN, str(finished)]) == 0
    out = capsys.readouterr().out
    assert "is finished; nothing to resume" in out and "average performance" in out
    before.pop(".lock"), (after := snapshot(finished)).pop(".lock")
    assert after == before


def test_resume_from_an_earlier_checkpoint_comes_to_the_same_end(tmp_path):
    path = tmp_path / "run"
    run_toy(path, "--quiet")
    before = results(path)
    assert main(["resume", *PLUGIN, str(path), "--from", "task-001", "--quiet"]) == 0
    assert results(path)["return_matrix"] == before["return_matrix"]
    assert results(path)["success_curves"] == before["success_curves"]


def test_resume_writes_results_that_were_lost(tmp_path):
    path = tmp_path / "run"
    run_toy(path, "--quiet")
    before = results(path)
    (path / "results.json").unlink()
    assert main(["resume", *PLUGIN, str(path), "--quiet"]) == 0
    assert results(path) == before


def test_list_names_everything_with_a_line(capsys):
    assert main(["list", "--plugin", "toy_plugin"]) == 0
    out = capsys.readouterr().out
    sections = [line for line in out.splitlines() if not line.startswith(" ")]
    kinds = ["tasks", "sequences", "agents", "methods", "unlabelled-objectives", "objectives"]
    kinds += ["encoder-methods", "settings"]
    assert sections == [f"{kind}:" for kind in kinds]
    assert "  toy3" in out and "three tasks that take no time" in out
    assert "Imitates the target" in out
    for name in ("reach", "drawer-open", "arm3", "sac", "ewc", "finetune"):
        assert f"  {name} " in out


def test_list_of_one_kind(capsys):
    assert main(["list", "methods"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("methods:\n") and "tasks:" not in out


def test_list_shows_what_is_broken(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_plugin.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["list", "--plugin", "broken_plugin"]) == 0
    out = capsys.readouterr().out
    assert "broken_plugin  broken: " in out and "ZeroDivisionError" in out
    assert "  ewc " in out


def test_help_imports_no_torch():
    code = (
        "import sys\n"
        "from lifelong_rl.cli import main\n"
        "for arguments in (['--help'], ['--version'], ['runn'], ['run', '--hepl']):\n"
        "    main(arguments)\n"
        "for command in ('run', 'resume', 'eval', 'record', 'demos', 'list', 'doctor'):\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0, command\n"
        "heavy = {'torch', 'mujoco', 'stable_baselines3', 'gymnasium', 'tensorboard', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for word in ("--steps-per-task", "--agent-options", "RUN_DIR", "--from", "--episodes", "KIND"):
        assert word in found.stdout


def test_python_m_gives_the_exit_code():
    found = subprocess.run(
        [sys.executable, "-m", "lifelong_rl", "rum"], cwd=ROOT, capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        "lifelong-rl: unknown command 'rum'; did you mean 'run'? (see: lifelong-rl --help)\n"
    )


def test_no_command_prints_the_help(capsys):
    assert main([]) == 0
    assert "usage: lifelong-rl COMMAND" in capsys.readouterr().out


def test_doctor_knows_what_the_project_requires():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {need.name: need.specifier for need in map(Requirement, project["dependencies"])}
    found = installation.requirements()
    found.pop("editables", None)  # what an editable install needs besides
    assert declared == {package: SpecifierSet(specifier) for package, specifier in found.items()}


def test_doctor(monkeypatch, capsys):
    monkeypatch.setattr(installation, "check_rendering", lambda: ("warn", "no rendering"))
    assert main(["doctor"]) == 0
    assert "ok      mujoco " in capsys.readouterr().out
    monkeypatch.setattr(installation, "installed", lambda name: None if name == "tyro" else "4.0.0")
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "broken  mujoco 4.0.0 does not work" in out
    assert "pip install 'mujoco!=4.0.0,>=3.17'" in out
    assert "broken  tyro is not installed" in out


@pytest.mark.parametrize(
    "package, version, level",
    [
        ("torch", "2.9.1", "broken"),
        ("torch", "2.13.0+cpu", "ok"),
        ("mujoco", "3.16.9", "broken"),
        ("mujoco", "4.0.0", "broken"),
        ("mujoco", "4.0.1", "ok"),
        ("gymnasium", "2.0.0", "broken"),
        ("stable-baselines3", "2.8.0", "broken"),
    ],
)
def test_doctor_versions(package, version, level):
    found, _ = installation.check_version(package, version, installation.requirements()[package])
    assert found == level


def test_doctor_python():
    assert installation.check_python((3, 10))[0] == "broken"
    assert installation.check_python((3, 11))[0] == "ok"


def test_doctor_says_what_to_install_for_rendering(monkeypatch):
    monkeypatch.setattr(installation, "RENDER", "raise RuntimeError('no display')")
    level, line = installation.check_rendering()
    assert level == "warn"
    assert "no display" in line and "apt install libegl1" in line
