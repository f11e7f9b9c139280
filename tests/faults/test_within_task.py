"""Checkpoints within a task: where signals stop a run, what is kept, and when there are none."""

import errno
import json
import os
import signal

import campaigns
import pytest
import subjects
import toy_plugin
from toy_runs import PLUGIN, SMALL, TOY, metric_lines, results, without_speed

from lifelong_rl.cli import main
from lifelong_rl.continual.ewc import EWC
from lifelong_rl.runs.endings import NUMBERS

RESUMABLE = [*TOY[:-1], "toy-resumable"]
WITHIN = "task-001-step-000000100"
FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
EVENTS = 291
"""File events of the resumable toy's run with checkpoints at `PLACES`."""
PLACES = ((0, 12), (0, 28), (1, 12), (1, 28))


def run(path, *arguments):
    words = ["run", *RESUMABLE, *SMALL, "--method", "ewc", "--run-dir", str(path)]
    return main([*words, "--quiet", *arguments])


def resume(path, *arguments):
    return main(["resume", *PLUGIN, str(path), "--quiet", *arguments])


def status(path):
    return json.loads((path / "status.json").read_text())


def at(place, do):
    return lambda task_id, step: do() if (task_id, step) == place else None


def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert run(path) == 0
    return path


def check_equal(path, undisturbed):
    for key in ("performance_matrix", "return_matrix", "success_curves", "metrics"):
        assert results(path)[key] == results(undisturbed)[key]
    assert without_speed(metric_lines(path)) == without_speed(metric_lines(undisturbed))
    assert sorted(os.listdir(path / "checkpoints")) == [f"task-{k:03d}" for k in range(4)]
    for name in os.listdir(path / "checkpoints"):
        tensors = (
            folder / "checkpoints" / name / "state.safetensors" for folder in (path, undisturbed)
        )
        assert len({file.read_bytes() for file in tensors}) == 1


@pytest.mark.parametrize(
    "number, exit_code",
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)],
)
def test_a_signal_stops_the_run_where_it_can_be_saved(
    tmp_path, monkeypatch, capsys, undisturbed, number, exit_code
):
    path = tmp_path / "run"
    before = [signal.getsignal(each) for each in NUMBERS]
    monkeypatch.setattr(toy_plugin, "on_step", at((1, 100), lambda: send(number)))
    assert run(path) == exit_code
    assert capsys.readouterr().err == (
        "lifelong-rl: stopped; kept up to step 100 of task 2 of 3 'right'; "
        f"go on with: lifelong-rl resume {path} --plugin toy_plugin\n"
    )
    assert status(path)["status"] == "interrupted"
    assert status(path)["message"] == "stopped in task 2 of 3 'right' at step 100"
    assert [signal.getsignal(each) for each in NUMBERS] == before
    steps = []
    monkeypatch.setattr(toy_plugin, "on_step", lambda *where: steps.append(where))
    assert resume(path) == 0
    assert steps[0] == (1, 104)
    check_equal(path, undisturbed)


def test_stopped_again_and_again(tmp_path, monkeypatch, undisturbed):
    path = tmp_path / "run"
    for place in ((0, 4), (0, 120), (0, 124), (1, 236), (2, 240)):  # 240 is a task's end
        monkeypatch.setattr(toy_plugin, "on_step", at(place, lambda: send(signal.SIGTERM)))
        assert (resume(path) if path.exists() else run(path)) == 143
    monkeypatch.undo()
    assert resume(path) == 0
    check_equal(path, undisturbed)


@pytest.mark.parametrize(
    "numbers, exit_code, kept",
    [
        ((signal.SIGINT, signal.SIGINT), 130, "the end of task 1"),
        ((signal.SIGTERM, signal.SIGINT), 130, "the end of task 1"),
        (
            (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGHUP),
            138,
            "step 100 of task 2",
        ),
    ],
)
def test_only_a_second_ctrl_c_does_not_wait(
    tmp_path, monkeypatch, capsys, numbers, exit_code, kept
):
    path = tmp_path / "run"
    monkeypatch.setattr(toy_plugin, "on_step", at((1, 100), lambda: send(*numbers)))
    assert run(path) == exit_code
    assert f"stopped; kept up to {kept} of 3" in capsys.readouterr().err
    assert status(path)["status"] == "interrupted"


@pytest.mark.parametrize("agent", ["toy", "toy-resumable"])
def test_a_task_that_is_learned_is_brought_to_its_end(
    tmp_path, monkeypatch, capsys, undisturbed, agent
):
    path = tmp_path / "run"
    end_task = toy_plugin.ToyAgent.end_task

    def stopped(self):
        end_task(self)
        if self.task_id == 1:
            send(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(toy_plugin.ToyAgent, "end_task", stopped)
        assert run(path, "--agent", agent) == 143
    assert "kept up to the end of task 2 of 3 'right'" in capsys.readouterr().err
    assert resume(path) == 0
    check_equal(path, undisturbed)


def test_before_the_first_task_nothing_waits(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toy_plugin.ToyAgent, "act", lambda *_: send(signal.SIGINT))
    assert run(tmp_path / "run") == 130
    assert "stopped; nothing is kept yet; go on" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr(toy_plugin.ToyAgent, "begin_task", lambda *_: send(signal.SIGINT))
    assert resume(tmp_path / "run") == 130
    assert "stopped; kept is the evaluation before the first task; go" in capsys.readouterr().err


def test_without_checkpoints_within_tasks(
    tmp_path, monkeypatch, capsys, undisturbed, checkpoints_at
):
    path = tmp_path / "run"
    with checkpoints_at((1, 60), then=at((1, 100), lambda: send(signal.SIGUSR1))):
        assert run(path, "--checkpoint-minutes", "0") == 138
    assert "kept up to the end of task 1 of 3 'left'" in capsys.readouterr().err
    assert not (path / "checkpoints" / "experience").exists()
    assert resume(path) == 0
    check_equal(path, undisturbed)


def test_the_minutes_are_a_setting_that_may_change(tmp_path, capsys):
    (tmp_path / "settings.yaml").write_text("checkpoint-minutes: 2.5\n")
    path = tmp_path / "run"
    assert run(path, "--config", str(tmp_path / "settings.yaml")) == 0
    config = (path / "config.yaml").read_text()
    assert "checkpoint_minutes: 2.5\n" in config
    (path / "config.yaml").write_text(config.replace("2.5", "7"))
    assert resume(path, "--from", "task-001") == 0
    capsys.readouterr()
    assert run(tmp_path / "other", "--checkpoint-minutes", "-1") == 2
    assert "checkpoint-minutes must be a number of at least 0, not -1" in capsys.readouterr().err


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run that was stopped at step 100 of its second task."""
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(toy_plugin, "on_step", at((1, 100), lambda: send(signal.SIGTERM)))
        assert run(path) == 143
    return path


@pytest.mark.parametrize("damage", ["segment", "missing", "tensors", "name"])
def test_a_damaged_checkpoint_names_the_last_good_one(stopped, capsys, undisturbed, damage):
    (segment,) = (stopped / "checkpoints" / "experience").iterdir()
    state = stopped / "checkpoints" / WITHIN / "state.safetensors"
    if damage == "missing":
        segment.unlink()
    elif damage == "name":
        rewrite_listing(state.with_name("state.json"), segment.name, "../../config.yaml")
    else:
        file = segment if damage == "segment" else state
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    capsys.readouterr()
    assert resume(stopped) == 2
    told = capsys.readouterr().err
    assert {
        "segment": f"{segment} is truncated or was changed",
        "missing": f"{segment} cannot be read",
        "tensors": f"{state} is truncated or was changed",
        "name": "it names '../../config.yaml'",
    }[damage] in told
    assert "'task-001' is good" in told and "--from task-001" in told
    assert resume(stopped, "--from", "task-001") == 0
    check_equal(stopped, undisturbed)


def rewrite_listing(path, old, new):
    """Let a checkpoint name another file, with the right checksum."""
    from lifelong_rl.runs.checkpoint import _digest

    document = json.loads(path.read_text().replace(old, new))
    del document["sha256"]
    path.write_text(json.dumps({"sha256": _digest(document), **document}))


def test_from_a_checkpoint_within_a_task_by_its_name(stopped, undisturbed):
    assert resume(stopped, "--from", WITHIN) == 0
    check_equal(stopped, undisturbed)


def test_what_has_learned_whole_tasks_is_evaluated(stopped, capsys):
    capsys.readouterr()
    assert main(["eval", str(stopped), *PLUGIN, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks_learned"] == 1
    assert main(["eval", str(stopped), *PLUGIN, "--checkpoint", WITHIN]) == 2
    assert f"unknown checkpoint '{WITHIN}'; did you mean 'task-001'?" in capsys.readouterr().err


def test_a_link_in_place_of_the_segments_is_not_followed(stopped, tmp_path, capsys):
    (tmp_path / "outside").mkdir()
    place = stopped / "checkpoints" / "experience"
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    assert resume(stopped) == 2
    assert "experience is a link to" in capsys.readouterr().err


def test_it_says_where_it_goes_on(stopped, capsys):
    capsys.readouterr()
    assert main(["resume", *PLUGIN, str(stopped)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:3] == [
        "going on after 1 of 3 tasks",
        "going on at step 100 of 240 of task 2 'right'",
    ]


@pytest.mark.parametrize(
    "part, told",
    [
        ("agent", "the agent 'toy' has no task_state()"),
        ("method", "the method 'ewc' has no task_state()"),
        ("agent says None", "the task_state() of the agent 'toy-resumable' is None"),
        (
            "env fails",
            "state_dict() of the environments of task 'left' of the sequence 'toy3': inv",
        ),
        ("env", "the environments of task 'left' of the sequence 'toy3' have no state_dict()"),
    ],
)
def test_what_cannot_be_saved_within_a_task_is_said_at_the_start(
    tmp_path, monkeypatch, capsys, checkpoints_at, part, told
):
    path = tmp_path / "run"
    if part == "method":
        monkeypatch.setattr(EWC, "task_state", lambda self: None)
    elif part == "env":
        monkeypatch.delattr(toy_plugin.ToyEnv, "state_dict")
    elif part == "env fails":
        monkeypatch.setattr(toy_plugin.ToyEnv, "state_dict", lambda self: int("no\nnumber"))
    elif part == "agent says None":
        monkeypatch.setattr(toy_plugin.ResumableToy, "task_state", lambda self: None)
    agent = "toy" if part == "agent" else "toy-resumable"
    words = [*RESUMABLE[:-1], agent, *SMALL, "--method", "ewc", "--run-dir", str(path)]
    with checkpoints_at((1, 60), then=at((1, 100), lambda: send(signal.SIGTERM))):
        assert main(["run", *words]) == 143
    printed = capsys.readouterr()
    line = printed.out.splitlines()[1]
    assert line.startswith(f"checkpoints at the ends of tasks only: {told}")
    assert "kept up to the end of task 1 of 3 'left'" in printed.err
    assert sorted(os.listdir(path / "checkpoints")) == ["task-000", "task-001"]


def some(stop, step):
    return [
        pytest.param(n, marks=[] if n % step == step // 2 else pytest.mark.slow)
        for n in range(1, stop + 1)
    ]


@pytest.fixture(scope="class")
def reference(tmp_path_factory, checkpoints_at):
    """A resumable toy that keeps checkpoints at `PLACES`, as its forks do."""
    subject = subjects.Subject("within", (*RESUMABLE, "--method", "ewc"), tuple(PLUGIN))
    with checkpoints_at(*PLACES):
        yield subjects.make_reference(subject, tmp_path_factory.mktemp("runs"))


@FORKS
class TestFaults:
    """Kills and full disks where checkpoints within tasks are made."""

    def test_the_file_events(self, reference):
        assert len(campaigns.count_events(reference)) == EVENTS

    @pytest.mark.parametrize("number", some(EVENTS, 50))
    def test_killed_before_a_file_event(self, reference, number):
        outcome = campaigns.kill_at_event(reference, number)
        assert outcome.problems == [] and outcome.happened

    @pytest.mark.parametrize("number", some(EVENTS, 110))
    def test_a_disk_that_is_full_from_an_event_on(self, reference, number):
        outcome = campaigns.refuse_event(reference, number, errno.ENOSPC, forever=True)
        assert outcome.problems == [] and outcome.happened
