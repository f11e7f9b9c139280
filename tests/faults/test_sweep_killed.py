"""A sweep killed at any moment and started again ends as if nothing had happened."""

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from toy_runs import PLUGIN, SMALL, TOY, metric_lines, results, wait_until, without_speed

from lifelong_rl.cli import main
from lifelong_rl.storage.lock import is_locked

ROOT = Path(__file__).parents[2]
CELLS = [f"toy3-toy-{m}-seed{s}" for s in (0, 1) for m in ("finetune", "ewc", "replay")]
CHECKPOINTS = 4
"""Of each cell: before the first task, and after each of three."""
FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
STUDY = """
sequences: toy3
agents: toy
methods: [finetune, ewc, replay]
seeds: [0, 1]
plugin: toy_plugin
steps_per_task: 240
num_envs: 4
eval_episodes: 6
eval_points: 4
method_options: {ewc: {strength: 10}}
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests' / 'toy'}")
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    yield path
    kill_cells(tmp_path / "runs")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The same runs one by one, none of them by a sweep."""
    runs = tmp_path_factory.mktemp("undisturbed")
    for name in CELLS:
        method, seed = name.split("-")[2], name[-1]
        options = ["--method-options", "strength=10"] if method == "ewc" else []
        arguments = [*TOY, *SMALL, "--method", method, "--seed", seed, *options, "--quiet"]
        assert main(["run", *arguments, "--run-dir", str(runs / name)]) == 0
    return runs


class ForkedSweep:
    """A sweep in a copy of this process, which has already imported what takes long."""

    def __init__(self, study, runs):
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(main(["sweep", *PLUGIN, str(study), "--runs", str(runs), "--processes", "2"]))

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self):
        """Its exit code, or minus the number of the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def checkpoints(runs):
    return len(list(runs.glob("*/checkpoints/task-???")))


def running(runs):
    """The folders of cells that a process has in hand."""
    return [path for path in runs.glob("*") if is_locked(path)]


def kill_cells(runs):
    for path in running(runs):
        with contextlib.suppress(
            ValueError, ProcessLookupError
        ):  # it has only just begun, or ended
            os.kill(int((path / ".lock").read_text()), signal.SIGKILL)


def finished_files(runs):
    return {
        path: path.stat().st_mtime_ns
        for results in runs.glob("*/results.json")
        for path in results.parent.rglob("*")
        if not is_locked(results.parent)  # its process may be about to write that it has finished
    }


def check_equal(runs, undisturbed):
    for name in CELLS:
        found, expected = results(runs / name), results(undisturbed / name)
        found.pop("cost"), expected.pop("cost")
        assert found == expected
        lines = [without_speed(metric_lines(folder / name)) for folder in (runs, undisturbed)]
        assert lines[0] == lines[1]


@FORKS
def test_killed_at_random_moments(tmp_path, study, undisturbed):
    runs, moments = tmp_path / "runs", random.Random(0)
    kill_at = sorted(moments.sample(range(1, len(CELLS) * CHECKPOINTS), 3))
    for number, all_at_once in zip(kill_at, (False, True, False), strict=True):
        untouched = finished_files(runs)
        sweep = ForkedSweep(study, runs)
        wait_until(lambda number=number: checkpoints(runs) >= number)
        time.sleep(moments.uniform(0, 0.1))
        if all_at_once:  # as in a power cut
            kill_cells(runs)
        sweep.signal(signal.SIGKILL)
        assert sweep.wait() == -signal.SIGKILL
        wait_until(lambda: not running(runs))
        assert untouched.items() <= finished_files(runs).items()
    untouched = finished_files(runs)
    assert ForkedSweep(study, runs).wait() == 0
    assert untouched.items() <= finished_files(runs).items()
    check_equal(runs, undisturbed)


@FORKS
def test_cells_do_not_outlive_a_sweep_that_was_killed(tmp_path, study):
    runs = tmp_path / "runs"
    study.write_text(STUDY.replace("steps_per_task: 240", "steps_per_task: 10000000"))
    sweep = ForkedSweep(study, runs)
    wait_until(lambda: checkpoints(runs) == 2 and len(running(runs)) == 2)
    sweep.signal(signal.SIGKILL)
    sweep.wait()
    wait_until(lambda: not running(runs))
    states = [json.loads(path.read_text())["status"] for path in runs.glob("*/status.json")]
    assert states == ["interrupted"] * 2


@FORKS
@pytest.mark.parametrize(
    "number, exit_code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_a_signal_stops_all_and_tells_how_to_go_on(
    tmp_path, study, monkeypatch, capfd, number, exit_code
):
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "plan.json").write_text(json.dumps({CELLS[1]: "wait", CELLS[2]: "wait"}))
    quick = ROOT / "tests" / "toy" / "quick_cell.py"
    monkeypatch.setattr("lifelong_rl.studies.sweep.CELL", (sys.executable, str(quick)))
    sweep = ForkedSweep(study, runs)
    events = runs / "events"
    wait_until(lambda: events.exists() and events.read_text().count("begin") == 3)
    sweep.signal(number)
    assert sweep.wait() == exit_code
    assert capfd.readouterr().err == (
        f"lifelong-rl: stopped; 6 cells in {runs}: 1 finished, 5 to do; "
        f"go on with: lifelong-rl sweep {study} --runs {runs} --processes 2 --plugin toy_plugin\n"
    )
