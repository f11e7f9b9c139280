"""Ctrl-C, SIGTERM and NaN: the folder says what happened and can go on."""

import json
import os
import shlex
import signal

import pytest
import toy_plugin
from toy_runs import PLUGIN, metric_lines, results, run_toy, snapshot, without_speed

from lifelong_rl.cli import main
from lifelong_rl.runs.endings import NUMBERS


def status(path):
    return json.loads((path / "status.json").read_text())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert run_toy(path, "--method", "ewc", "--quiet") == 0
    return path


@pytest.mark.parametrize(
    "number, exit_code",
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)],
)
def test_a_signal_leaves_a_folder_that_goes_on(
    tmp_path, monkeypatch, capsys, undisturbed, number, exit_code
):
    path = tmp_path / "run"

    def stop(task_id, step):
        if (task_id, step) == (1, 100):
            os.kill(os.getpid(), number)

    before = [signal.getsignal(each) for each in NUMBERS]
    monkeypatch.setattr(toy_plugin, "on_step", stop)
    assert run_toy(path, "--method", "ewc") == exit_code
    assert capsys.readouterr().err == (
        "lifelong-rl: stopped; kept up to the end of task 1 of 3 'left'; "
        f"go on with: lifelong-rl resume {path} --plugin toy_plugin\n"
    )
    assert status(path)["status"] == "interrupted"
    assert status(path)["message"] == "stopped in task 2 of 3 'right' at step 96"
    assert not (path / "results.json").exists()
    assert [signal.getsignal(each) for each in NUMBERS] == before

    monkeypatch.undo()
    assert main(["resume", *PLUGIN, str(path), "--quiet"]) == 0
    assert status(path)["status"] == "finished"
    for key in ("performance_matrix", "return_matrix", "success_curves", "metrics"):
        assert results(path)[key] == results(undisturbed)[key]
    assert without_speed(metric_lines(path)) == without_speed(metric_lines(undisturbed))


def test_a_closed_terminal_stops_nothing_under_nohup(tmp_path, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(
            toy_plugin, "on_step", lambda task_id, step: os.kill(os.getpid(), signal.SIGHUP)
        )
        assert run_toy(tmp_path / "run", "--quiet") == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_printed_commands_can_be_copied(tmp_path, monkeypatch, capsys):
    path = tmp_path / "it's $mine"
    with monkeypatch.context() as patch:
        patch.setattr(
            toy_plugin, "on_step", lambda task, step: task and os.kill(os.getpid(), signal.SIGINT)
        )
        assert run_toy(path, "--quiet") == 130
    shown = [capsys.readouterr().err]
    assert run_toy(path) == 2  # unfinished
    shown.append(capsys.readouterr().err)
    for text in shown:
        _, _, after = text.partition("go on with: ")
        command = after.strip().removesuffix(", or choose another --run-dir")
        assert shlex.split(command) == ["lifelong-rl", "resume", str(path), *PLUGIN]
    (path / "checkpoints" / "task-001" / "state.json").write_text("")
    assert main(["resume", *PLUGIN, str(path)]) == 2
    _, _, command = capsys.readouterr().err.partition("go on from there: ")
    assert main([*shlex.split(command)[1:], "--quiet"]) == 0
    capsys.readouterr()
    assert main(["resume", *PLUGIN, str(path)]) == 0
    for line in capsys.readouterr().out.splitlines()[-3:]:
        assert str(path) in shlex.split(line)


def test_ctrl_c_before_the_run_has_begun(tmp_path, monkeypatch, capsys):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(toy_plugin.ToyAgent, "build", stop)
    assert run_toy(tmp_path / "run") == 130
    assert capsys.readouterr().err == "lifelong-rl: stopped\n"
    assert not (tmp_path / "run").exists()


def test_nan_in_a_loss_names_task_step_and_component(tmp_path, monkeypatch, capsys, undisturbed):
    path = tmp_path / "run"
    loss = toy_plugin.ToyPolicy.loss
    now = []
    monkeypatch.setattr(toy_plugin, "on_step", lambda *where: now.append(where))

    def spoiled(self, batch):
        value = loss(self, batch)
        return value * float("nan") if now and now[-1] == (1, 100) else value

    monkeypatch.setattr(toy_plugin.ToyPolicy, "loss", spoiled)
    assert run_toy(path, "--method", "ewc") == 1
    last = path / "checkpoints" / "task-001"
    assert capsys.readouterr().err == (
        "lifelong-rl: stopped in task 2 of 3 'right' at step 100: the loss of 'policy' is nan; "
        f"the last checkpoint {last} is intact\n"
    )
    assert status(path)["status"] == "failed"
    assert "task 2 of 3 'right' at step 100" in status(path)["message"]

    monkeypatch.undo()
    assert main(["resume", *PLUGIN, str(path), "--quiet"]) == 0
    assert results(path)["return_matrix"] == results(undisturbed)["return_matrix"]


def test_nan_in_a_reward_of_the_evaluation(tmp_path, monkeypatch, capsys):
    step = toy_plugin.ToyEnv.step

    def spoiled(self, actions):
        observations, rewards, dones, infos = step(self, actions)
        return observations, rewards * (float("nan") if self.task_id == 2 else 1), dones, infos

    monkeypatch.setattr(toy_plugin.ToyEnv, "step", spoiled)
    assert run_toy(tmp_path / "run", "--quiet") == 1
    err = capsys.readouterr().err
    assert "the reward of 'evaluation of up' is nan" in err and "there is no checkpoint yet" in err


def test_failing_to_load_leaves_everything_as_it_was(tmp_path, monkeypatch, capsys):
    path = tmp_path / "run"
    monkeypatch.setattr(
        toy_plugin, "on_step", lambda task_id, step: task_id and os.kill(os.getpid(), signal.SIGINT)
    )
    assert run_toy(path, "--quiet") == 130
    before = snapshot(path)
    monkeypatch.setattr(toy_plugin.ToyAgent, "load_state_dict", lambda self, state: state["lost"])
    assert main(["resume", *PLUGIN, str(path)]) == 1
    before.pop(".lock"), (after := snapshot(path)).pop(".lock")
    assert after == before


def test_an_agent_that_plays_while_it_is_built_is_resumed_to_the_same_end(tmp_path, monkeypatch):
    build = toy_plugin.ToyAgent.build

    def playing(env, *, num_tasks, method, seed):
        env.reset()
        return build(env, num_tasks=num_tasks, method=method, seed=seed)

    monkeypatch.setattr(toy_plugin.ToyAgent, "build", playing)
    assert run_toy(tmp_path / "whole", "--quiet") == 0
    with monkeypatch.context() as faulty:
        faulty.setattr(
            toy_plugin, "on_step", lambda task, step: task and os.kill(os.getpid(), signal.SIGINT)
        )
        assert run_toy(tmp_path / "parts", "--quiet") == 130
    assert main(["resume", *PLUGIN, str(tmp_path / "parts"), "--quiet"]) == 0
    assert (
        results(tmp_path / "parts")["return_matrix"] == results(tmp_path / "whole")["return_matrix"]
    )
