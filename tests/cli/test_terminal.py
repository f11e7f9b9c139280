"""On a terminal there is a bar with the task, the success, the speed and the time left."""

import io
import sys

import toy_runs


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
