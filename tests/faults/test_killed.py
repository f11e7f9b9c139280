"""`kill -9` at any moment: the resumed run ends with the same numbers, and no line twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_runs import PLUGIN, SMALL, TOY, metric_lines, results, run_toy, without_speed

from lifelong_rl.cli import main

ROOT = Path(__file__).parents[2]
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


def test_killed_in_the_middle_of_task_2(tmp_path, undisturbed, reads_events):
    path = tmp_path / "run"
    environment = {
        **os.environ,
        "TOY_KILL": "1:150",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'toy'}",
    }
    killed = subprocess.run(
        [sys.executable, "-m", "lifelong_rl", "run", *TOY, *SMALL, *EWC, "--run-dir", str(path)],
        env=environment,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL
    assert metric_lines(path)[-1]["step"] == 240 + 120  # there is something to cut off
    assert not (path / "results.json").exists()
    assert main(["resume", *PLUGIN, str(path), "--quiet"]) == 0
    check_equal(path, undisturbed)

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


def run_in_child(arguments, kill_at_sync):
    """Run a command in a copy of this process that dies at the n-th fsync; whether it did."""
    child = os.fork()
    if child == 0:
        sync, left = os.fsync, [kill_at_sync]

        def dying(descriptor):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            sync(descriptor)

        os.fsync = dying
        os._exit(main(arguments))
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_killed_at_every_write(tmp_path, undisturbed):
    """Each process dies a few writes after the one before it, until one comes to the end."""
    for stride in (1, 4, 7):
        path = tmp_path / f"run-{stride}"
        arguments = ["run", *TOY, *SMALL, *EWC, "--run-dir", str(path), "--quiet"]
        deaths = 0
        while run_in_child(arguments, stride + deaths):
            deaths += 1
            if (path / "config.yaml").exists():
                arguments = ["resume", *PLUGIN, str(path), "--quiet"]
        assert deaths > 3
        check_equal(path, undisturbed)
