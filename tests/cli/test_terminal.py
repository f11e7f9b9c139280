"""On a terminal there is a bar with the task, the success, the speed and the time left."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import toy_runs

from lifelong_rl.runs.sequence import Phase


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bar(tmp_path, monkeypatch):
    from lifelong_rl.cli import progress

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(progress.BarReporter, "REFRESH_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert toy_runs.run_toy(tmp_path / "run") == 0
    shown = sys.stdout.getvalue()
    assert "2/3 right" in shown
    assert "steps/s" in shown and "left" in shown and "success 1.00" in shown
    assert "100%" in shown


def test_the_bar_shows_the_success_of_the_task_that_begins(monkeypatch):
    from lifelong_rl.cli.progress import BarReporter

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", Terminal())
    setup = SimpleNamespace(
        config=SimpleNamespace(sequence_name="two", agent="toy", method="ewc", seed=0),
        sequence=SimpleNamespace(tasks=("left", "right"), num_tasks=2),
        labels=("left", "right"),
        phase_labels=("left", "right"),
        phases=(Phase((0,), 10), Phase((1,), 10)),
        phase_steps=(10, 10),
        starts=(0, 10, 20),
    )
    reporter = BarReporter()
    reporter.begin(setup, Path("run"), 0)
    reporter.row(0, [0.25, 0.0])
    assert "1/2 left" in last_bar() and "success 0.25" in last_bar()
    reporter.evaluated(0, 10, 1.0, 5.0)
    assert "success 1.00" in last_bar()
    reporter.row(1, [1.0, 0.5])
    assert "2/2 right" in last_bar() and "success 0.50" in last_bar() and "50%" in last_bar()
    reporter.end()
    assert not last_bar().strip()  # it is taken away


def last_bar():
    """The line that was drawn last."""
    shown = sys.stdout.getvalue()
    return shown[shown.rfind("\r") + 1 :].rpartition("\x1b[2K")[2]
