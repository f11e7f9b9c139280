"""`lifelong-rl compare`: tables on the screen, files on request, one line about what is wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "analysis"))

from made_runs import make_results, write_run, write_study

from lifelong_rl.cli import main

LOST = {"finetune": 0.5, "ewc": 0.2, "replay": 0.05}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def study():
    return write_study(Path("runs"), LOST)


def compare(*arguments):
    return main(["compare", "--reps", "100", *map(str, arguments)])


def refused(capsys, *arguments):
    """The line on stderr, after checking that nothing was done."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main(["compare", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and sorted(Path().rglob("*")) == before
    return line


def test_the_tables(study, capsys):
    (Path("runs") / "bc-ewc-0" / "results.json").unlink()
    assert compare(study) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "arm3"
    assert "  supervised: bc (fixed data, fixed targets)" in lines
    assert "  reinforcement: sac (moving data, bootstrapped targets)" in lines
    rows = [line.split() for line in lines]
    (header,) = (row for row in rows if row[:3] == ["method", "regime", "runs"])
    assert header[3:] == ["learned", "average", "forgetting", "retention"]
    assert [row[:3] for row in rows if row[:1] == ["ewc"]][:2] == [
        ["ewc", "bc", "2"],
        ["ewc", "sac", "3"],
    ]
    assert sum(row[:4] == ["finetune", "bc", "→", "sac"] for row in rows) == 1
    assert sum(row[:1] == ["forgetting"] for row in rows) == 1
    assert max(map(len, lines)) <= 112
    assert lines[-1].endswith("runs/bc-ewc-0: not finished: still running, or killed")
    assert sorted(Path().iterdir()) == [study]  # nothing is written unless it is asked for


def test_the_files(study, capsys):
    outs = ["deep/er.html", "er.json", "er.csv"]
    arguments = [word for out in outs for word in ("--out", out)]
    assert compare(study, *arguments, "--figures", "figures") == 0
    shown = capsys.readouterr().out
    assert all(out in shown for out in outs)
    content = json.loads(Path("er.json").read_text())
    assert len(content["sections"][0]["groups"]) == 6
    assert Path("deep/er.html").read_text().startswith("<!doctype html>")
    assert Path("er.csv").read_text().startswith("sequence,order,apart,method,regime,")
    names = {path.name for path in Path("figures").iterdir()}
    assert {"arm3-forgetting.svg", "arm3-forgetting.png", "arm3-scatter-bc-sac.png"} <= names
    assert f"{len(names) // 2} in figures" in shown
    before = Path("er.json").read_bytes()
    assert "er.json is there already; add --overwrite" in refused(capsys, study, "--out", "er.json")
    assert compare(study, "--out", "er.json", "--overwrite") == 0
    assert Path("er.json").read_bytes() == before
    assert compare(study, "--out", "er.json", "--overwrite", "--seed", 1) == 0
    assert Path("er.json").read_bytes() != before


def headings(out):
    return [line for line in out.splitlines() if line.startswith("arm3")]


def test_what_must_not_be_mixed_has_a_section_of_its_own(study, capsys):
    ones = [[0.0] * 3, [1.0] * 3, [1.0] * 3, [1.0] * 3]
    write_run(Path("other"), make_results(ones, seed=9, steps_per_task=7))
    arguments = ["--out", "c.csv", "--out", "c.json", "--out", "c.html", "--figures", "figures"]
    assert compare(study, "other", *arguments) == 0
    out = capsys.readouterr().out
    assert headings(out) == ["arm3, steps_per_task 1000", "arm3, steps_per_task 7"]
    note = "note: arm3: the budget differs (steps_per_task 1000 and 7) between sections; --mix"
    assert note in out
    rows = Path("c.csv").read_text().splitlines()
    assert len(rows) == len({tuple(row.split(",")[:7]) for row in rows})  # no row twice
    assert "<h2>arm3, steps_per_task 7</h2>" in Path("c.html").read_text()
    names = {path.name for path in Path("figures").iterdir()}
    assert {f"arm3-steps_per_task-{steps}-forgetting.svg" for steps in (7, 1000)} <= names
    assert compare(study, "other", "--mix", "mujoco", "--mix", "tasks") == 0
    assert len(headings(capsys.readouterr().out)) == 2
    assert compare(study, "other", "--mix", "budget") == 0
    out = capsys.readouterr().out
    assert headings(out) == ["arm3"]
    assert "note: arm3: the budget differs (steps_per_task 1000 and 7) between runs that" in out


@pytest.mark.parametrize("command", ["compare", "report"])
def test_runs_are_chosen_by_sequence_agent_and_method(command, study, capsys):
    ones = [[0.0] * 3, [1.0] * 3, [1.0] * 3, [1.0] * 3]
    write_run(Path("runs") / "mine", make_results(ones, sequence="mine", method="clone"))

    def groups(*arguments):
        Path("out.json").unlink(missing_ok=True)
        if command == "report":
            from lifelong_rl.analysis import files

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "lifelong_rl.analysis.report_page.make_report_page",
                    lambda report: json.dumps(report["sections"]),
                )
                patch.setattr(
                    files, "write_page", lambda out, page: Path("out.json").write_text(page)
                )
                assert main(["report", "runs", "--reps", "9", "--out", "o.html", *arguments]) == 0
            sections = json.loads(Path("out.json").read_text())
        else:
            assert main(["compare", "runs", "--reps", "9", "--out", "out.json", *arguments]) == 0
            sections = json.loads(Path("out.json").read_text())["sections"]
        return {(s["sequence"], g["agent"], g["method"]) for s in sections for g in s["groups"]}

    everything = groups()
    assert len(everything) == 7
    assert groups("--sequence", "mine") == {("mine", "sac", "clone")}
    assert groups("--agent", "bc") == {found for found in everything if found[1] == "bc"}
    assert groups("--method", "ewc", "--method", "clone", "--agent", "sac") == {
        ("arm3", "sac", "ewc"),
        ("mine", "sac", "clone"),
    }


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], "say what to compare: lifelong-rl compare RUN_DIR"),
        (["nowhere"], "there is no folder nowhere"),
        (["runs", "nowhere"], "there is no folder nowhere"),
        (["runs", "--out", "x.txt"], "--out must end in .html, .json, .csv, not 'x.txt'"),
        (["runs", "--method", "ewk"], "unknown method of these runs 'ewk'; did you mean 'ewc'?"),
        (["runs", "--agent", "ppo"], "unknown agent of these runs 'ppo'; known: bc, sac"),
        (["runs", "--mix", "mujocco"], "unknown kind of mixture 'mujocco'; did you mean 'mujoco'?"),
        (["runs", "--reps", "0"], "reps must be a whole number of at least 1, not 0"),
        (["runs", "--seed", "-1"], "seed must be a whole number in [0, 4294967295], not -1"),
        (["runs", "--figures", "runs/sac-ewc-0/results.json"], "is a file; give a folder"),
        (["runs", "--outt", "x"], "unknown option '--outt'; did you mean '--out'?"),
    ],
)
def test_bad_input_is_one_line(study, capsys, arguments, expected):
    assert expected in refused(capsys, *arguments)


def test_nothing_to_compare(capsys):
    Path("empty").mkdir()
    Path("run").mkdir()
    (Path("run") / "config.yaml").write_text("sequence: arm3\n")
    line = refused(capsys, "run", "empty")
    assert "there is nothing to compare: run: not finished: still running, or killed" in line
    assert line.endswith("(and 1 more left out)")


def test_the_table_needs_neither_torch_nor_matplotlib(study):
    check = (
        "import sys; from lifelong_rl.cli import main; main(['compare', 'runs', '--reps', '9']);"
        "print([name for name in ('torch', 'mujoco', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
