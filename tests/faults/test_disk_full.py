"""A disk that is full at any moment: one line, and nothing that was there is lost."""

import errno
import json
import os
from pathlib import Path

import pytest
from toy_runs import results, run_toy

from lifelong_rl.cli import main
from lifelong_rl.storage import atomic


class FullAfter:
    """os.fsync that fails from its n-th call on."""

    def __init__(self, calls):
        self.left, self.fsync = calls, os.fsync

    def __call__(self, descriptor):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.fsync(descriptor)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert run_toy(path, "--quiet") == 0
    return path


@pytest.mark.parametrize("calls", [3, 8, 13, 16, 22])
def test_full_disk(tmp_path, monkeypatch, capsys, undisturbed, calls):
    path = tmp_path / "run"
    monkeypatch.setattr(atomic.os, "fsync", FullAfter(calls))
    assert run_toy(path, "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot write {path}" in line and "No space left on device" in line
    assert "the last checkpoint" in line or "there is no checkpoint yet" in line
    monkeypatch.undo()
    assert json.loads((path / "status.json").read_text())["status"] == "running"
    assert main(["resume", str(path), "--quiet"]) == 0
    assert results(path)["return_matrix"] == results(undisturbed)["return_matrix"]


def test_full_before_the_run_begins(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(atomic.os, "fsync", FullAfter(0))
    assert run_toy(tmp_path / "run") == 2
    assert "config.yaml: No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    assert run_toy(tmp_path / "run", "--quiet") == 0


def test_a_place_where_nothing_can_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert run_toy(tmp_path / "file" / "run") == 2
    assert "Not a directory" in capsys.readouterr().err


def test_full_while_metrics_are_written(tmp_path, monkeypatch, capsys):
    from lifelong_rl.storage.metrics_log import MetricsLog

    path = tmp_path / "run"
    write, calls = MetricsLog.write, []

    def full(self, *arguments):
        calls.append(arguments)
        if len(calls) == 7:
            self._file.close()
            self._file = Path("/dev/full").open("ab")  # noqa: SIM115 (closed by the log)
        write(self, *arguments)

    monkeypatch.setattr(MetricsLog, "write", full)
    assert run_toy(path, "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot write {path / 'metrics.jsonl'}: No space left on device" in line
    assert "task-001 is intact" in line
