"""`lifelong-rl sweep`: what it prints, what it leaves, and what it answers to mistakes."""

import io
import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from toy_results import make_results
from toy_runs import PLUGIN, QUICK, SMALL, TOY, results, run_toy, snapshot

from lifelong_rl.cli import main, sweep_progress
from lifelong_rl.cli.sweep import Sweep
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.studies.study import read_study

ROOT = Path(__file__).parents[2]
STUDY = """
runs: found
sequences: toy3
agents: toy
methods: [finetune, ewc]
seeds: [0, 1]
plugin: toy_plugin
steps_per_task: 240
num_envs: 4
eval_episodes: 6
eval_points: 4
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests' / 'toy'}")
    Path("s.yaml").write_text(STUDY)
    return Path("s.yaml")


@pytest.fixture
def quick(study, monkeypatch):
    """Cells that learn nothing and say that it took a minute."""
    monkeypatch.setattr("lifelong_rl.studies.sweep.CELL", QUICK)
    return study


def sweep(capsys, *arguments):
    """The exit code and the lines on stdout."""
    capsys.readouterr()
    code = main(["sweep", *PLUGIN, "s.yaml", *arguments])
    return code, capsys.readouterr().out.splitlines()


def test_a_cell_is_what_run_makes_of_it_and_is_known_again(study, capsys):
    """One real cell; the other one was run by hand, with other threads."""
    study.write_text(STUDY.replace("[finetune, ewc]", "ewc"))
    run_toy(Path("found") / "toy3-toy-ewc-seed0", "--method", "ewc", "--quiet")
    run_toy(Path("by-hand"), "--method", "ewc", "--seed", "1", "--quiet")
    before = snapshot(Path("found"))
    code, lines = sweep(capsys)
    assert code == 0
    assert lines[0].startswith("2 cells in found: 1 finished, 1 to do; ")
    assert lines[1].startswith("2/2 toy3-toy-ewc-seed1 finished in ")
    assert lines[2:] == ["2 cells in found: 2 finished", "compare: lifelong-rl compare found"]
    manifest = json.loads(Path("found/toy3-toy-ewc-seed1/manifest.json").read_text())
    assert manifest["sessions"][0]["startup_seconds"] > 0
    swept, by_hand = results(Path("found") / "toy3-toy-ewc-seed1"), results(Path("by-hand"))
    swept.pop("cost"), by_hand.pop("cost")
    assert swept == by_hand
    after = snapshot(Path("found"))
    assert before.items() <= after.items()
    names = {path.name for path in Path("found/toy3-toy-ewc-seed1").iterdir()}
    assert names == {path.name for path in Path("by-hand").iterdir()}


def test_cells_are_called_as_run_calls_its_folder(study, capsys):
    (Path("runs")).mkdir()
    assert main(["run", *TOY, *SMALL, "--seed", "1", "--quiet"]) == 0
    _, lines = sweep(capsys, "--runs", "runs", "--dry-run")
    assert any(line.split()[:2] == ["toy3-toy-finetune-seed1", "finished"] for line in lines)


def test_a_line_for_each_event_and_a_summary(quick, capsys):
    Path("found").mkdir()
    Path("found/plan.json").write_text(json.dumps({"toy3-toy-ewc-seed0": "fail"}))
    code, lines = sweep(capsys, "--processes", "1")
    assert code == 1
    log = Path("found/toy3-toy-ewc-seed0/sweep.log")
    assert lines == [
        "4 cells in found: 4 to do; 1 at a time",
        "1/4 toy3-toy-finetune-seed0 finished in 1 min 00 s, about 3 min 00 s left",
        "1/4 toy3-toy-ewc-seed0 failed: the loss of 'policy' is nan, about 2 min 00 s left",
        "2/4 toy3-toy-finetune-seed1 finished in 1 min 00 s, about 1 min 00 s left",
        "3/4 toy3-toy-ewc-seed1 finished in 1 min 00 s, about 0 s left",
        "4 cells in found: 3 finished, 1 failed",
        f"failed: toy3-toy-ewc-seed0: the loss of 'policy' is nan (more in {log})",
        "try again: lifelong-rl sweep s.yaml --processes 1 --plugin toy_plugin",
    ]
    Path("found/plan.json").unlink()
    code, lines = sweep(capsys, "--processes", "1", "--quiet")
    assert code == 0
    assert lines == ["4 cells in found: 4 finished", "compare: lifelong-rl compare found"]


def test_dry_run_lists_and_writes_nothing(quick, capsys):
    code, lines = sweep(capsys, "--dry-run", "--processes", "2")
    assert code == 0 and not Path("found").exists()
    assert [line.split()[0] for line in lines[1:5]] == [
        "toy3-toy-finetune-seed0",
        "toy3-toy-ewc-seed0",
        "toy3-toy-finetune-seed1",
        "toy3-toy-ewc-seed1",
    ]
    assert lines[-2:] == ["4 cells in found: 4 to do; 2 at a time", "time left: unknown time"]

    assert sweep(capsys, "--quiet")[0] == 0
    for path in Path("found").glob("*-seed1/results.json"):
        path.unlink()
    (Path("found") / "toy3-toy-ewc-seed1" / "config.yaml").write_text("agent: sac\n")
    before = snapshot(Path("found"))
    code, lines = sweep(capsys, "--dry-run", "--processes", "2")
    assert code == 0 and snapshot(Path("found")) == before
    assert [line.split() for line in lines[1:5]] == [
        ["toy3-toy-finetune-seed0", "finished", "1", "min", "00", "s"],
        ["toy3-toy-ewc-seed0", "finished", "1", "min", "00", "s"],
        ["toy3-toy-finetune-seed1", "to", "do", "about", "1", "min", "00", "s"],
        ["toy3-toy-ewc-seed1", "failed", "-"],
    ]
    assert "failed: toy3-toy-ewc-seed1: found/toy3-toy-ewc-seed1 holds another run" in lines[-2]
    assert lines[-1] == "time left: about 1 min 00 s"


def folders(quick):
    """The folders of the cells of a study, by what their names end in."""
    found = {}
    for cell in read_study(quick, plugins=["toy_plugin"]).cells:
        folder = RunFolder.create(cell.path, cell.setup.config)
        folder.unlock()
        found[cell.name.removeprefix("toy3-toy-")] = folder
    return found


def what_happens_while_it_waits(monkeypatch, events):
    """Let something happen each time that the watch waits, and fail where it waits too often."""
    waiting = iter(events)
    monkeypatch.setattr(sweep_progress.time, "sleep", lambda seconds: next(waiting)())


def test_a_watch_tells_what_others_do_until_all_is_done(quick, capsys, monkeypatch):
    cells = folders(quick)
    first, second, third, fourth = cells.values()

    def begin():
        first.lock()

    def end():
        first.write_results(make_results())
        first.unlock()
        second.write_status("failed", "task 1 of 3 'left' at step 7: NaN")
        third.write_status("running")
        (third.path / "sweep.log").write_text("Traceback\n  x\nno space left\n\n")

    def go_on():
        third.write_status("interrupted", "stopped in task 1")
        fourth.write_results(make_results())

    def finish():
        third.write_results(make_results())

    what_happens_while_it_waits(monkeypatch, [begin, lambda: None, end, go_on, finish])
    code, lines = sweep(capsys, "--watch")
    failed = "failed: toy3-toy-ewc-seed0: task 1 of 3 'left' at step 7: NaN"
    log = third.path / "sweep.log"
    assert lines == [
        "4 cells in found: 4 to do",
        "4 cells in found: 1 running elsewhere, 3 to do",
        "4 cells in found: 1 finished, 2 failed, 1 to do",
        failed,
        f"failed: toy3-toy-finetune-seed1: no space left (more in {log})",
        "4 cells in found: 2 finished, 1 failed, 1 to do",
        failed,
        "4 cells in found: 3 finished, 1 failed",
        failed,
    ]
    assert code == 1
    assert not (first.path.parent / "events").exists()  # nothing was run


def test_a_watch_on_a_terminal_names_failures_beside_what_runs(quick, monkeypatch):
    cells = folders(quick)
    first, second, third, fourth = cells.values()
    first.lock()
    first.metrics.write_text(json.dumps({"step": 360}) + "\n")
    second.write_status("failed", "task 1: the [loss] is NaN")
    terminal = Terminal()
    shown = []

    def finish():
        shown.append(terminal.getvalue())
        first.unlock()
        for folder in (first, third, fourth):
            folder.write_results(make_results())

    what_happens_while_it_waits(monkeypatch, [finish])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["sweep", *PLUGIN, "s.yaml", "--watch"]) == 1
    assert "toy3-toy-finetune-seed0" in shown[0] and " 50%" in shown[0]
    assert "toy3-toy-ewc-seed0" in shown[0] and "task 1: the [loss] is NaN" in shown[0]


def test_unsupported_pairs_are_told_once_and_are_no_failure(quick, capsys):
    quick.write_text(
        "runs: found\nsequences: arm3\nagents: bc\nmethods: [icarl, ewc]\nseeds: [0, 1]\n"
    )
    # stand-ins for runs of arm3, which takes longer
    for cell in read_study(quick).cells:
        if cell.setup.config.method == "ewc":
            folder = RunFolder.create(cell.path, cell.setup.config)
            versions = cell.setup.identity["mujoco"], cell.setup.sequence.versions()
            found = {"versions": {"mujoco": versions[0]}, "task_versions": versions[1]}
            folder.write_results(make_results(**found))
            folder.unlock()
    code, lines = sweep(capsys, "--processes", "1", "--quiet")
    assert code == 0
    assert lines == [
        "4 cells in found: 2 finished, 2 left out",
        "left out: icarl with bc on arm3 is unsupported: the method 'icarl' needs classes to "
        "predict, and their labels when a task begins, which the agent 'bc' does not offer (agents "
        "that do: classifier, semi-supervised)",
        "compare: lifelong-rl compare found",
    ]
    assert not list(Path("found").glob("*icarl*"))


def events(runs):
    return [line.split() for line in (Path(runs) / "events").read_text().splitlines()]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_shards_at_once_do_every_cell_once(quick, capsys):
    pids = []
    for shard in ("1/2", "2/2"):
        pids.append(os.fork())
        if pids[-1] == 0:
            os._exit(main(["sweep", *PLUGIN, "s.yaml", "--shard", shard, "--quiet"]))
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0]
    names = sorted(name for event, name in events("found") if event == "begin")
    assert names == sorted(cell.name for cell in read_study(quick, None, ["toy_plugin"]).cells)
    code, lines = sweep(capsys, "--dry-run", "--shard", "2/3", "--processes", "1")
    assert code == 0 and lines[-2].startswith("1 cells in found: 1 finished")
    assert sweep(capsys, "--dry-run", "--shard", "9/9")[1][-2].startswith("0 cells in found")


def test_printed_commands_do_what_is_left_one_cell_each(quick, capsys, monkeypatch):
    Path("found").mkdir()
    Path("found/plan.json").write_text(json.dumps({"toy3-toy-ewc-seed1": "fail"}))
    assert sweep(capsys, "--shard", "1/4", "--quiet")[0] == 0
    code, lines = sweep(capsys, "--print-commands")
    assert code == 0 and len(lines) == 3 and len(events("found")) == 2
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    done = []
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "lifelong-rl"
        done.append(main(words))
    assert done == [0, 0, 1]  # a scheduler sees what failed
    assert len(events("../found")) == 2 + 2 + 2 + 1


def test_what_is_printed_to_go_on_names_the_executor():
    given = ["s.yaml", "--executor", "slurm", "--slurm", "partition=a b", "time_limit=30"]
    again = Sweep.parse("sweep", [*given, "--shard", "1/2", *PLUGIN])._again()
    assert Sweep.parse("sweep", shlex.split(again)[2:]) == Sweep.parse(
        "sweep", [*given, "--shard", "1/2", *PLUGIN]
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_table_on_a_terminal(quick, monkeypatch):
    from lifelong_rl.cli import sweep_progress

    Path("found").mkdir()
    Path("found/plan.json").write_text(json.dumps({"toy3-toy-ewc-seed1": "die"}))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sweep_progress.TableReporter, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(["sweep", *PLUGIN, "s.yaml", "--processes", "2"]) == 1
    shown = sys.stdout.getvalue()
    assert "toy3 toy" in shown and "━━━" in shown and "  0% " in shown
    assert "3/4" in shown and "was there enough memory?" in shown
    assert "3 min 00 s left" not in shown and "about 1 min 00 s left" in shown
    again = "lifelong-rl sweep s.yaml --processes 2 --plugin toy_plugin"
    assert shown.splitlines()[-1] == f"try again: {again}"


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["sweep"], "STUDY"),
        (["sweep", "nowhere.yaml"], "cannot read nowhere.yaml: No such file or directory"),
        (
            ["sweep", "s.yaml", "--processes", "0"],
            "processes must be a whole number of at least 1, not 0",
        ),
        (["sweep", "s.yaml", "--proceses", "2"], "did you mean '--processes'?"),
        (["sweep", "s.yaml", "--executor", "rya"], "did you mean 'ray'?"),
        (["sweep", "s.yaml", "--address", "auto"], "--address is for --executor ray"),
        (["sweep", "s.yaml", "--slurm", "partition=x"], "--slurm is for --executor slurm"),
        (
            ["sweep", *PLUGIN, "s.yaml", "--executor", "slurm", "--slurm", "partitoin=x"],
            "did you mean 'partition'?",
        ),
        (
            ["sweep", "s.yaml", "--executor", "slurm", "--slurm", "a=1", "--slurm", "b=1"],
            "give --slurm once",
        ),
        (
            ["sweep", "s.yaml", "--executor", "ray", "--device", "cuda:0", "--device", "cuda:1"],
            "with --executor ray give --device once",
        ),
        (
            ["sweep", "s.yaml", "--executor", "slurm", "--per-device", "2"],
            "leave --per-device out",
        ),
        (["sweep", "s.yaml", "--print-commands", "--executor", "ray"], "leave --executor out"),
        (["sweep", "s.yaml", "--print-commands", "--shard", "1/2"], "leave --shard out"),
        (["sweep", "s.yaml", "--shard", "3/2"], "--shard must be I/N"),
        (["sweep", "s.yaml", "--shard", "0/2"], "--shard must be I/N"),
        (["sweep", "s.yaml", "--shard", "half"], "--shard must be I/N"),
        (
            ["sweep", *PLUGIN, "bad.yaml"],
            "toy3-toy-ecw-seed0: unknown method 'ecw'; did you mean 'ewc'?",
        ),
        (["sweep", *PLUGIN, "negative.yaml"], "seed0: agent 'toy': lr must be positive, not -1"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_run(study, capsys, arguments, expected):
    Path("bad.yaml").write_text(STUDY.replace("ewc", "ecw"))
    Path("negative.yaml").write_text(STUDY + "agent_options: {toy: {lr: -1}}\n")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert expected in line and captured.out == ""
    assert not Path("found").exists()
