"""`lifelong-rl report`: a page beside the run, files on request, and what was left out and why."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "analysis"))

from made_runs import make_results, write_run, write_study

from lifelong_rl.cli import main

MATRIX = [[0.0, 0.1, 0.0], [0.9, 0.0, 0.1], [0.5, 1.0, 0.2], [0.3, 0.8, 0.7]]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def report(*arguments):
    return main(["report", "--reps", "50", *map(str, arguments)])


def refused(capsys, *arguments):
    """The line on stderr, after checking that nothing was done."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main(["report", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and sorted(Path().rglob("*")) == before
    return line


def test_the_page_lies_beside_the_run(capsys):
    write_run(Path("run"), make_results(MATRIX))
    assert report("run") == 0
    shown = capsys.readouterr().out
    assert "Forgetting is 0.27, most of it of reach: from 0.90 to 0.30." in shown
    assert "page:   run/report.html (" in shown
    page = Path("run/report.html").read_text()
    assert page.startswith("<!doctype html>") and "most of it of reach" in page
    assert "lifelong-rl run --sequence arm3 --agent sac --method finetune" in page
    line = refused(capsys, "run")
    assert line.endswith(
        "run/report.html is there already; add --overwrite, or choose another --out"
    )
    assert report("run", "--overwrite") == 0


def test_what_is_left_out_is_told_with_the_reason(capsys):
    write_study(Path("runs"), {"finetune": 0.5}, agents=("sac",))
    write_run(Path("runs/short"), make_results(MATRIX, seed=9, steps_per_task=7))
    write_run(Path("runs/mine"), make_results(MATRIX, sequence="mine"))
    for name in ("half", "broken", "odd"):
        write_run(Path("runs") / name, make_results(MATRIX, seed=5))
    Path("runs/half/results.json").unlink()
    Path("runs/half/status.json").write_text('{"status": "interrupted", "message": "in task 2"}')
    Path("runs/broken/results.json").write_text("{")
    Path("runs/odd/results.json").write_text("[]1")
    Path("empty").mkdir()
    assert report("runs", "empty", "--out", "deep/er.html") == 0
    shown = capsys.readouterr().out
    page = Path("deep/er.html").read_text()
    for path, reason in {
        "runs/half": "not finished: interrupted, in task 2",
        "runs/broken": "cannot read runs/broken/results.json",
        "runs/odd": "cannot read runs/odd/results.json",
        "empty": "holds no run",
    }.items():
        assert f"left out: {path}: {reason}" in shown
        assert f"<li>{path}: {reason}" in page
    assert "4 folders were left out" in page
    names = ["arm3, steps_per_task 1000", "arm3, steps_per_task 7", "mine"]
    assert [line for line in shown.splitlines() if line in names] == names
    for number, name in enumerate(names):
        assert f'<a href="#s{number}">{name}</a>' in page
    assert "note: arm3: the budget differs (steps_per_task 1000 and 7) between sections" in shown


def test_the_files(capsys):
    write_study(Path("runs"), {"finetune": 0.5}, agents=("sac",), seeds=range(1))
    assert report("runs", "--out", "page.html", "--files", "files") == 0
    names = {path.name for path in Path("files").iterdir()}
    assert f"files:  {len(names)} in files" in capsys.readouterr().out
    assert {
        "arm3-matrix-finetune-with-sac." + kind for kind in ("svg", "png", "csv", "tex")
    } <= names
    assert {"arm3-scores.csv", "arm3-runs.tex", "arm3-forgetting.svg"} <= names


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], "say what to report on: lifelong-rl report RUN_DIR"),
        (["nowhere"], "there is no folder nowhere"),
        (["run", "other"], "say where the page about several folders goes: --out report.html"),
        (["run", "--out", "x.pdf"], "--out must end in .html, not 'x.pdf'"),
        (["run", "--out", "folder.html"], "folder.html is a folder; choose another --out"),
        (["run", "--files", "run/results.json"], "is a file; give a folder for --files"),
        (["run", "--mix", "mujocco"], "unknown kind of mixture 'mujocco'; did you mean 'mujoco'?"),
        (["run", "--reps", "0"], "reps must be a whole number of at least 1, not 0"),
        (["empty"], "there is nothing to report on: empty: holds no run"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, expected):
    write_run(Path("run"), make_results(MATRIX))
    Path("folder.html").mkdir()
    Path("empty").mkdir()
    assert expected in refused(capsys, *arguments)


def test_it_needs_neither_torch_nor_mujoco():
    write_run(Path("run"), make_results(MATRIX))
    check = (
        "import sys; from lifelong_rl.cli import main; main(['report', 'run', '--reps', '9']);"
        "print([name for name in ('torch', 'mujoco') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
