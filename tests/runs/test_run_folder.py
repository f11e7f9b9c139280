"""A run folder belongs to one run and one process."""

import json
import os
import subprocess
import sys

import pytest

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder

CONFIG = RunConfig(seed=3)


def test_create_and_open(tmp_path):
    folder = RunFolder.create(tmp_path / "a" / "b", CONFIG)
    folder.unlock()
    assert RunFolder.open(tmp_path / "a" / "b").config == CONFIG


def test_a_second_writer_is_refused_with_the_pid_of_the_first(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    second = RunFolder.open(tmp_path / "run")
    with pytest.raises(UserError, match=rf"already running \(pid {os.getpid()}\)"):
        second.lock()
    folder.unlock()
    second.lock()
    second.unlock()


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    RunFolder.create(tmp_path / "run", CONFIG).unlock()
    code = (
        "import fcntl, os, signal, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run" / ".lock")], check=False)
    folder = RunFolder.open(tmp_path / "run")
    folder.lock()
    assert (tmp_path / "run" / ".lock").read_text() == f"{os.getpid()}\n"
    folder.unlock()


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    folder.unlock()
    (folder.checkpoints / "task-001.tmp").mkdir(parents=True)
    (folder.checkpoints / "task-000").mkdir()
    (folder.path / "status.json.tmp").write_text("{")
    assert folder.checkpoint_names() == ["task-000"]
    folder.lock()
    folder.unlock()
    assert [p.name for p in folder.checkpoints.iterdir()] == ["task-000"]
    assert not (folder.path / "status.json.tmp").exists()


def test_a_folder_in_which_a_process_was_killed_at_once_can_be_used(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / ".lock").write_text("1\n")
    (path / "config.yaml.tmp").write_text("se")
    RunFolder.create(path, CONFIG).unlock()
    assert sorted(p.name for p in path.iterdir()) == [".lock", "config.yaml"]


def test_later_checkpoints_are_removed(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    for done in range(4):
        folder.checkpoint(done).mkdir(parents=True)
    (folder.path / "results.json").write_text("{}")
    folder.rewind("task-001")
    assert folder.checkpoint_names() == ["task-000", "task-001"]
    assert not (folder.path / "results.json").exists()
    assert folder.status()["status"] == "running"
    folder.unlock()


@pytest.mark.parametrize("name", ["", "task-", "task-0015", "."])
def test_nothing_is_removed_for_a_checkpoint_that_is_not_there(tmp_path, name):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    for done in range(3):
        folder.checkpoint(done).mkdir(parents=True)
    (folder.path / "results.json").write_text("{}")
    before = sorted(folder.path.rglob("*"))
    with pytest.raises(UnknownNameError, match=f"unknown checkpoint '{name}'"):
        folder.rewind(name)
    assert sorted(folder.path.rglob("*")) == before
    folder.unlock()


def test_the_manifest_keeps_every_session(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    folder.add_session({"tasks": ["left"]}, "cpu")
    folder.add_session({"tasks": ["left"]}, "cpu")
    folder.unlock()
    manifest = json.loads((folder.path / "manifest.json").read_text())
    assert manifest["tasks"] == ["left"]
    assert len(manifest["sessions"]) == 2
    session = manifest["sessions"][0]
    assert session["argv"] == sys.argv
    assert set(session["versions"]) == {
        "lifelong-rl",
        "python",
        "torch",
        "numpy",
        "mujoco",
        "gymnasium",
        "stable-baselines3",
    }


def test_damaged_status_is_named(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    folder.unlock()
    (folder.path / "status.json").write_text("{")
    with pytest.raises(UserError, match=r"cannot read .*status.json"):
        folder.status()
