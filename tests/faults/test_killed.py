"""`kill -9` in the middle of a task: what TensorBoard reads then, and what is cut off."""

import os
import signal

import forked
import pytest
import toy_plugin
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_runs import PLUGIN, SMALL, TOY, metric_lines, results, run_toy, without_speed

from lifelong_rl.cli import main

EWC = ["--method", "ewc", "--method-options", "strength=10"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert run_toy(path, *EWC, "--quiet") == 0
    return path


def check_equal(path, undisturbed):
    for key in ("performance_matrix", "return_matrix", "success_curves", "metrics"):
        assert results(path)[key] == results(undisturbed)[key]
    assert without_speed(metric_lines(path)) == without_speed(metric_lines(undisturbed))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize(
    "agent, goes_on_at", [("toy", (1, 0)), ("toy-resumable", (1, 100))], ids=["end", "within"]
)
def test_killed_in_the_middle_of_task_2(
    tmp_path, monkeypatch, undisturbed, reads_events, checkpoints_at, agent, goes_on_at
):
    path = tmp_path / "run"

    def kill(task_id, step):
        if (task_id, step) >= (1, 150):
            os.kill(os.getpid(), signal.SIGKILL)

    words = ["run", *TOY[:-1], agent, *SMALL, *EWC, "--run-dir", str(path)]
    with checkpoints_at((1, 60), (1, 100), then=kill):  # in the fork
        killed = forked.start(words, tmp_path / "output")
        assert killed.wait() == -signal.SIGKILL
    assert metric_lines(path)[-1]["step"] == 240 + 120  # there is something to cut off
    assert not (path / "results.json").exists()
    steps = []
    monkeypatch.setattr(toy_plugin, "on_step", lambda *where: steps.append(where))
    assert main(["resume", *PLUGIN, str(path), "--quiet"]) == 0
    assert steps[0] == (goes_on_at[0], goes_on_at[1] + 4)
    check_equal(path, undisturbed)
    assert sorted(os.listdir(path / "checkpoints")) == [f"task-{k:03d}" for k in range(4)]

    events = EventAccumulator(str(path / "tb")).Reload()
    expected = {}
    for line in metric_lines(path):
        for name, value in line["values"].items():
            expected.setdefault(name, []).append((line["step"], pytest.approx(value, rel=1e-6)))
    found = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    assert found == expected
