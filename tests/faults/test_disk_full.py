"""A disk that is full at any moment: one line, and nothing that was there is lost."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import toy_plugin
from toy_runs import PLUGIN, TOY, results, run_toy

from lifelong_rl.cli import main
from lifelong_rl.storage import atomic, lock


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


@pytest.mark.parametrize("calls", [3, 16])
def test_full_disk(tmp_path, monkeypatch, capsys, undisturbed, calls):
    path = tmp_path / "run"
    monkeypatch.setattr(atomic.os, "fsync", FullAfter(calls))
    assert run_toy(path, "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot write {path}" in line and "No space left on device" in line
    assert "the last checkpoint" in line or "there is no checkpoint yet" in line
    monkeypatch.undo()
    assert json.loads((path / "status.json").read_text())["status"] == "failed"
    assert not list(path.rglob("*.tmp"))
    assert main(["resume", *PLUGIN, str(path), "--quiet"]) == 0
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


class FullFile:
    """A file on a disk that is full from the n-th write on."""

    def __init__(self, file, writes):
        self.file, self.left = file, writes

    def write(self, content):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(content)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("writes", [1, 9, 30])
def test_full_while_events_are_written(tmp_path, monkeypatch, capfd, writes):
    from lifelong_rl.storage import event_file

    path = tmp_path / "run"
    make = event_file.RecordWriter
    monkeypatch.setattr(event_file, "RecordWriter", lambda file: make(FullFile(file, writes)))
    assert run_toy(path, "--quiet") == 1
    (line,) = capfd.readouterr().err.splitlines()  # no traceback of a thread before it
    assert f"cannot write {path / 'tb'}: No space left on device" in line
    assert json.loads((path / "status.json").read_text())["status"] == "failed"
    monkeypatch.undo()
    assert main(["resume", *PLUGIN, str(path), "--quiet"]) == 0


def test_a_folder_that_is_removed_meanwhile_is_not_made_again(tmp_path, monkeypatch, capsys):
    path = tmp_path / "run"

    def remove(task_id, step):
        if (task_id, step) == (1, 100):
            shutil.rmtree(path)

    monkeypatch.setattr(toy_plugin, "on_step", remove)
    assert run_toy(path, "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot write {path / 'checkpoints' / 'task-002'}: No such file" in line
    assert not path.exists()


LONG = "x" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["resume", LONG],
        ["eval", LONG],
        ["compare", LONG],
        ["report", LONG],
        ["sweep", LONG],
        ["sweep", f"{LONG}/study.yaml"],
        ["run", *TOY, "--run-dir", LONG],
        ["run", *TOY, "--run-dir", f"new/{LONG}/run"],
        ["run", "--config", LONG],
        ["probe", LONG, "--frames", LONG],
        ["pretrain", "--frames", LONG, "--out", LONG],
        ["record", "--run-dir", LONG, "--out", LONG],
        ["compare", ".", "--out", f"{LONG}.json"],
    ],
)
def test_names_that_no_file_can_have(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert LONG in line and "File name too long" in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    assert run_toy(tmp_path / "run") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot lock {tmp_path / 'run' / '.lock'}: its file system has no locks" in line
    assert not lock.is_locked(tmp_path / "run")


def test_what_a_plugin_cannot_open_fails_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toy_plugin, "on_step", lambda task_id, step: open("nowhere"))  # noqa: SIM115
    assert run_toy(tmp_path / "run", "--quiet") == 1
    assert "stopped in task 1 of 3 'left' at step 0: " in capsys.readouterr().err
