"""Bad input: one line, exit code 2, nothing written."""

import io
import json
import sys
from pathlib import Path

import pytest
import yaml
from toy_runs import PLUGIN, SMALL, TOY, results, run_toy, snapshot

from lifelong_rl.cli import main
from lifelong_rl.cli.main import explain
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.runs import setup
from lifelong_rl.runs.run_folder import RunFolder


def refused(capsys, *arguments):
    """The line on stderr, after checking that it is one and that the exit code is 2."""
    capsys.readouterr()
    named = PLUGIN if arguments[0] in ("resume", "eval") else []
    assert main([*(str(a) for a in arguments), *named]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and "Traceback" not in line
    return line


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["runn"], "unknown command 'runn'; did you mean 'run'?"),
        (["run", "--method", "ecw"], "unknown method 'ecw'; did you mean 'ewc'? (see: lifelong-rl"),
        (["run", "--agent", "sax"], "unknown agent 'sax'; did you mean 'sac'?"),
        (["run", "--sequence", "arm33"], "unknown sequence 'arm33'; did you mean 'arm3'?"),
        (["run", "--sequence", "rech"], "unknown sequence 'rech'; did you mean 'reach'?"),
        (["run", "--sequence", "reach,pus"], "unknown task 'pus'; did you mean 'push'?"),
        (["run", *TOY, "--order", "1"], "the sequence 'toy3' has only its own order"),
        (["run", "--order", "-1"], "order must be a whole number in [0, 4294967295], not -1"),
        (["run", "--sed", "3"], "unknown option '--sed'; did you mean '--seed'?"),
        (["run", "--seed=x"], "invalid literal for int() with base 10: 'x'"),
        (["run", "--seed"], "Missing value for argument '--seed'"),
        (["run", "--seed", "-3"], "seed must be a whole number in [0, 4294967295], not -3"),
        (["run", "--steps-per-task", "0"], "steps-per-task must be a whole number of at least 1"),
        (["run", "somewhere"], "unexpected 'somewhere'"),
        (["run", "--agent-options", "lr"], "options are given as key=value, not 'lr'"),
        (["run", "--agent-options", "lr=[1"], "cannot read the value '[1'"),
        (["run", "--plugin", "no_such_module"], "the plug-in 'no_such_module' cannot be imported"),
        (
            ["run", *TOY, "--agent-options", "hiden=3"],
            "unknown toy option 'hiden'; did you mean 'hidden'?",
        ),
        (["run", *TOY, "--agent-options", "lr=-1"], "agent 'toy': lr must be positive, not -1"),
        (["run", *TOY, "--method", "ewc", "--method-options", "strenth=3"], "mean 'strength'?"),
        (
            ["run", *TOY, "--method", "ewc", "--method-options", "scope=polcy"],
            "did you mean 'policy'?",
        ),
        (["resume"], "RUN_DIR"),
        (["resume", "nowhere"], "there is no folder nowhere"),
        (["resume", "."], ". holds no run (no config.yaml)"),
        (["eval", "nowhere"], "there is no folder nowhere"),
        (["list", "agent"], "unknown name 'agent'; did you mean 'agents'?"),
        (["doctor", "--fix"], "unknown option '--fix'"),
        (["run", "--seed", str(2**32)], "seed must be a whole number in [0, 4294967295], not 4294"),
        (["run", "--order", "9" * 30], "order must be a whole number in [0, 4294967295], not 9999"),
        (["run", "--steps-per-task", "9" * 30], "(it does not fit into 64 bits)"),
        (["run", "--steps-per-task", "9" * 5000], "Exceeds the limit (4300 digits)"),
        (["run", "--threads", "100000"], "threads must be a whole number in [1, 1024], not 100000"),
        (["run", "--num-threads", "100000"], "num-threads must be a whole number in [1, 1024]"),
        (["run", "--num-envs", "9999999"], "num-envs must be a whole number in [1, 1000000]"),
        (["run", "--eval-episodes", "9999999"], "eval-episodes must be a whole number in [1, "),
        (["probe", "e", "--frames", "f", "--threads", "9999"], "threads must be a whole number in"),
        (["demos", "--task", "reach", "--num-threads", "9999"], "num-threads must be a whole numb"),
        (["pretrain", "--frames", "f", "--threads", "9999"], "threads must be a whole number in"),
        (["run", "--run-dir", ""], "--run-dir is given an empty text; leave it out, or set the"),
        (["run", "--run-dir="], "--run-dir is given an empty text"),
        (["eval", ""], "lifelong-rl eval is given an empty text"),
        (["record", "--expert", "--out", "clips", "--format", ""], "--format is given an empty"),
        (
            ["run", "--sequence", "a\nb"],
            "sequence must be text, not 'a\\nb' (there is a control",
        ),
        (["run", "--agent", "\x1b[2J"], "agent must be text, not '\\x1b[2J' (there is a control"),
        (["eval", "a\0b"], "run-dir must be a path, not PosixPath('a\\x00b') (no path has a NUL"),
        (["run", "--method-options", "a=!!set {b}"], "the tag !!set is not allowed in it"),
        (["run", "--method-options", "a=&x [*x]"], "an alias in it contains itself"),
        (["run", "--method-options", "a={b: 1, b: 2}"], "it sets 'b' twice"),
        (["run", "--agent-options", "a=0x_"], "'0x_' is no int"),
        (
            ["run", "--agent-options", "gamma=0x" + "f" * 5000],
            "not a number of thousands of digits",
        ),
    ],
)
def test_one_line_and_nothing_written(tmp_path, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def finished(toy_run, tmp_path):
    import shutil

    return Path(shutil.copytree(toy_run, tmp_path / "run"))


def unfinish(path):
    """As if the run had been killed in its last task."""
    import shutil

    shutil.rmtree(path / "checkpoints" / "task-003")
    (path / "results.json").unlink()
    status = json.loads((path / "status.json").read_text())
    (path / "status.json").write_text(json.dumps({**status, "status": "running"}))


def test_run_into_a_finished_run(finished, capsys):
    before = snapshot(finished)
    line = refused(capsys, "run", *TOY, *SMALL, "--run-dir", finished)
    assert f"{finished} holds this run, finished; see it with: lifelong-rl eval" in line
    assert snapshot(finished) == before


def test_run_into_another_run(finished, capsys):
    before = snapshot(finished)
    line = refused(capsys, "run", *TOY, *SMALL, "--seed", "4", "--run-dir", finished)
    assert "holds another run (seed 0, not 4); choose another --run-dir" in line
    assert snapshot(finished) == before


def test_run_into_an_unfinished_run(finished, capsys):
    unfinish(finished)
    before = snapshot(finished)
    line = refused(capsys, "run", *TOY, *SMALL, "--run-dir", finished)
    assert f"unfinished; go on with: lifelong-rl resume {finished}" in line
    assert snapshot(finished) == before


def test_run_into_a_folder_of_something_else(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("x")
    line = refused(capsys, "run", *TOY, *SMALL, "--run-dir", tmp_path)
    assert "is not empty and holds no run; choose another --run-dir" in line
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_run_into_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert "is a file" in refused(capsys, "run", *TOY, *SMALL, "--run-dir", tmp_path / "file")


def test_resume_and_eval_of_a_truncated_checkpoint_name_the_file_and_a_way_on(finished, capsys):
    unfinish(finished)
    file = finished / "checkpoints" / "task-002" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    before = snapshot(finished)
    for command in ("resume", "eval"):
        line = refused(capsys, command, finished)
        assert f"checkpoint {file} is truncated" in line
        assert f"lifelong-rl resume {finished} --from task-001" in line
    before.pop(".lock"), (after := snapshot(finished)).pop(".lock")
    assert after == before
    assert main(["resume", *PLUGIN, str(finished), "--from", "task-001", "--quiet"]) == 0


def test_the_way_on_leads_to_the_same_results(finished, toy_run):
    unfinish(finished)
    (finished / "checkpoints" / "task-002" / "state.json").write_text("")
    assert main(["resume", *PLUGIN, str(finished), "--from", "task-001", "--quiet"]) == 0
    assert results(finished)["return_matrix"] == results(toy_run)["return_matrix"]


def test_no_good_checkpoint_at_all(finished, capsys):
    unfinish(finished)
    for file in finished.rglob("state.json"):
        file.write_text("{}")
    line = refused(capsys, "resume", finished)
    assert "is not a checkpoint of lifelong-rl" in line and "--from" not in line


def test_a_checkpoint_of_another_run(finished, tmp_path, capsys):
    import shutil

    other = tmp_path / "other"
    run_toy(other, "--quiet", "--seed", "9")
    unfinish(finished)
    shutil.rmtree(finished / "checkpoints" / "task-002")
    shutil.copytree(other / "checkpoints" / "task-002", finished / "checkpoints" / "task-002")
    line = refused(capsys, "resume", finished)
    assert "belongs to another run: seed is 9 there and 0 here" in line


def test_a_config_that_was_changed_after_the_run(finished, capsys):
    unfinish(finished)
    config = yaml.safe_load((finished / "config.yaml").read_text())
    (finished / "config.yaml").write_text(yaml.safe_dump({**config, "steps_per_task": 500}))
    line = refused(capsys, "resume", finished)
    assert "steps per task is 240 there and 500 here" in line


def test_threads_may_be_changed(finished):
    unfinish(finished)
    config = yaml.safe_load((finished / "config.yaml").read_text())
    (finished / "config.yaml").write_text(yaml.safe_dump({**config, "num_threads": 1}))
    assert main(["resume", *PLUGIN, str(finished), "--quiet"]) == 0


@pytest.mark.parametrize("command", ["resume", "eval"])
def test_another_mujoco_version(finished, monkeypatch, capsys, command):
    unfinish(finished)
    there = results_version(finished)
    monkeypatch.setattr(setup, "installed", lambda package: "3.99.0")
    line = refused(capsys, command, finished)
    assert f"made with MuJoCo {there}, installed is 3.99.0" in line
    assert f"pip install mujoco=={there}" in line


def results_version(path):
    return json.loads((path / "manifest.json").read_text())["sessions"][0]["versions"]["mujoco"]


def test_unknown_task_and_checkpoint(finished, capsys):
    assert "unknown task 'lefft'; did you mean 'left'?" in refused(
        capsys, "eval", finished, "--task", "lefft"
    )
    assert "unknown checkpoint 'task-004'; did you mean 'task-00" in refused(
        capsys, "eval", finished, "--checkpoint", "task-004"
    )
    assert "episodes must be a whole number in [1, 1000000]" in refused(
        capsys, "eval", finished, "--episodes", "0"
    )


@pytest.mark.parametrize("command", ["resume --from", "eval --checkpoint"])
def test_an_empty_name_is_not_the_last_checkpoint(finished, capsys, command):
    """As a script gives it, `--from "$CHECKPOINT"`, whose variable is not set."""
    before = snapshot(finished)
    before.pop(".lock")
    command, option = command.split()
    assert f"{option} is given an empty text" in refused(capsys, command, finished, option, "")
    with pytest.raises(UnknownNameError, match="unknown checkpoint ''; known: task-000"):
        RunFolder.open(finished).find_checkpoint("")
    (after := snapshot(finished)).pop(".lock")
    assert after == before


def test_metrics_that_were_cut_off(finished, capsys):
    unfinish(finished)
    (finished / "metrics.jsonl").write_text("")
    before = snapshot(finished)
    before.pop(".lock")
    line = refused(capsys, "resume", finished)
    assert "metrics.jsonl has 0 bytes, but the checkpoint was made when it had" in line
    (after := snapshot(finished)).pop(".lock")
    assert after == before


def test_a_run_that_is_running(finished, capsys):
    unfinish(finished)
    holder = RunFolder.open(finished)
    holder.lock()
    line = refused(capsys, "resume", finished)
    assert "already running (pid " in line
    holder.unlock()


def test_debug_shows_the_traceback(capsys):
    assert main(["run", "--agent", "sax", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_is_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys):
    import toy_plugin

    monkeypatch.setattr(toy_plugin, "on_step", lambda task_id, step: 1 / 0)
    assert run_toy(tmp_path / "run") == 1
    err = capsys.readouterr().err
    assert err == (
        "lifelong-rl: unexpected ZeroDivisionError: division by zero "
        "(add --debug for the traceback)\n"
    )
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["status"] == "failed"
    assert "task 1 of 3 'left' at step 0: ZeroDivisionError" in status["message"]


def test_rewinding_a_run_whose_metrics_are_gone_removes_nothing(finished, capsys):
    (finished / "metrics.jsonl").unlink()
    before = snapshot(finished)
    before.pop(".lock")
    assert "put the whole file back" in refused(capsys, "resume", finished, "--from", "task-001")
    (after := snapshot(finished)).pop(".lock")
    assert after == before


def test_options_given_twice_are_refused(capsys):
    line = refused(capsys, "run", "--method-options", "a=1", "--method-options", "b=2")
    assert "give --method-options once" in line


def test_a_killed_write_of_the_status_is_made_good(finished, capsys):
    status = json.loads((finished / "status.json").read_text())
    (finished / "status.json").write_text(json.dumps({**status, "status": "running"}))
    assert main(["resume", *PLUGIN, str(finished), "--quiet"]) == 0
    assert json.loads((finished / "status.json").read_text())["status"] == "finished"


def test_a_tilde_that_the_shell_left_alone_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main(["run", *TOY, *SMALL, "--quiet", "--run-dir=~/runs/first"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert main(["compare", "~/runs/first", "--reps=9", "--out=~/page.json"]) == 0
    assert (tmp_path / "home" / "page.json").exists() and not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    "error, told",
    [
        (MemoryError("Unable to allocate 745. GiB"), "not enough memory: Unable to allocate 745."),
        (RuntimeError("Storage size calculation overflowed with sizes=[9]"), "not enough memory"),
        (ValueError("Could not allocate memory"), "not enough memory"),
        (TypeError("of two\nlines \x1b[1m"), r"unexpected TypeError: of two lines \x1b[1m (add"),
        (UserError("a\x85b\ud800\n"), r"a b\ud800"),
    ],
)
def test_every_error_is_told_in_one_printable_line(error, told):
    message, exit_code = explain(error)
    assert told in message and message.isprintable()
    assert exit_code == (2 if isinstance(error, UserError) else 1)


def test_what_is_wrong_is_told_alike_where_letters_are_few(monkeypatch, capsys):
    def told():
        main(["eval", "run", "--episodes"])
        return capsys.readouterr().err

    expected = told()
    assert "Missing value for argument '--episodes'" in expected and "--- " not in expected
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert told() == expected


def test_a_network_that_no_memory_holds(tmp_path, capsys):
    path = tmp_path / "run"
    assert run_toy(path, "--agent-options", "hidden=9000000000000000000") == 1
    assert "there is not enough memory: " in capsys.readouterr().err
    assert not path.exists()
