"""A cell whose folder says stop ends as if it was told to by a signal."""

import pytest
from toy_runs import metric_lines

from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.endings import RunStopped
from lifelong_rl.runs.loop import SequenceLoop, run_to_end
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import prepare
from lifelong_rl.studies import cell
from lifelong_rl.studies.cell import LOOK_SECONDS, STOP, StoppingReporter


class Stopped(StoppingReporter):
    """Somebody loses interest after the first task."""

    def row(self, tasks_done, success):
        if tasks_done == 1:
            self._file.write_text("")
        super().row(tasks_done, success)


def test_it_stops_after_the_task_and_can_go_on(tmp_path):
    config = RunConfig(
        sequence="toy3", agent="toy", plugin=("toy_plugin",), steps_per_task=240, num_envs=4,
        eval_episodes=6, eval_points=4,
    )  # fmt: skip
    path = tmp_path / "run"
    folder = RunFolder.create(path, config)
    loop = SequenceLoop(prepare(config, ["toy_plugin"]))
    with pytest.raises(RunStopped) as stopped:
        run_to_end(loop, folder, Stopped(path))
    assert stopped.value.exit_code == 143
    assert folder.status()["status"] == "interrupted"
    tasks = [line["task"] for line in metric_lines(path) if line["type"] == "evaluation"]
    assert tasks == [None, "left"]
    folder.lock()  # nobody holds it
    folder.unlock()


def test_it_looks_once_in_a_while_as_it_learns(tmp_path, monkeypatch):
    now, killed = [100.0], []
    monkeypatch.setattr(cell.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(cell.os, "kill", lambda pid, number: killed.append(now[0]))
    reporter = StoppingReporter(tmp_path)
    (tmp_path / STOP).write_text("")
    for _ in range(8):
        now[0] += LOOK_SECONDS / 4
        reporter.step(0, 1)
    assert killed == [100.0 + LOOK_SECONDS, 100.0 + 2 * LOOK_SECONDS]
