"""Who may write to a folder: across processes and machines, alive, halted and dead."""

import errno
import json
import os
import signal
import socket
import threading
import time

import pytest
import toy_plugin
from toy_runs import run_toy, snapshot

from lifelong_rl.errors import UserError
from lifelong_rl.storage import lock
from lifelong_rl.storage.lock import (
    CLAIM,
    CLOCKS_SECONDS,
    STALE_SECONDS,
    is_lock_file,
    is_locked,
    lock_folder,
)

HERE = socket.gethostname()


@pytest.fixture
def on(monkeypatch):
    """Pretend to be another machine, of whose `flock` this one is not told."""
    monkeypatch.setattr(lock.fcntl, "flock", lambda descriptor, operation: None)

    def be(host):
        monkeypatch.setattr(lock.socket, "gethostname", lambda: host)

    return be


def claims(folder):
    return sorted(path.name for path in folder.glob(f"{CLAIM}*"))


def age(folder, seconds):
    """Let the last touch of the claim be so long ago."""
    (name,) = claims(folder)
    then = time.time() - seconds
    os.utime(folder / name, (then, then))


def test_a_claim_names_its_owner_and_goes_with_it(tmp_path):
    held = lock_folder(tmp_path)
    assert is_locked(tmp_path)
    owner = json.loads((tmp_path / ".claim-1").read_text())
    assert (owner["host"], owner["pid"]) == (HERE, os.getpid())
    held.check()
    held.release()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert not is_locked(tmp_path)
    assert all(map(is_lock_file, [".lock", ".claim-1", ".claim-12"]))
    assert not any(map(is_lock_file, [".lock.txt", "claim-1", "config.yaml"]))


def test_another_machine_is_refused_with_the_owners_name(tmp_path, on):
    on("node1")
    held = lock_folder(tmp_path)
    on("node2")
    assert is_locked(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(UserError, match=rf"already running \(pid {os.getpid()} on node1\)"):
        lock_folder(tmp_path)
    assert snapshot(tmp_path) == before
    on("node1")
    held.release()
    assert not is_locked(tmp_path)


def test_a_halted_owner_loses_its_folder_and_is_told_before_it_writes(tmp_path, on):
    on("node1")
    halted = lock_folder(tmp_path)
    age(tmp_path, STALE_SECONDS - 20)
    on("node2")
    with pytest.raises(UserError, match="in use"):
        lock_folder(tmp_path)
    age(tmp_path, STALE_SECONDS + CLOCKS_SECONDS + 1)
    assert not is_locked(tmp_path)
    age(tmp_path, STALE_SECONDS + 1)
    owner = lock_folder(tmp_path)
    assert claims(tmp_path) == [".claim-2"]
    owner.check()
    lost = rf"{tmp_path}: the folder was lost: taken over by pid {os.getpid()}"
    with pytest.raises(lock.WriteError, match=lost):
        halted.check()
    halted.release()
    assert claims(tmp_path) == [".claim-2"]
    owner.check()
    owner.release()
    assert claims(tmp_path) == []


def test_a_clock_that_is_ahead_lets_nobody_count_on_a_folder_too_early(tmp_path, on, monkeypatch):
    on("node1")
    lock_folder(tmp_path)
    on("node2")
    now = time.time
    monkeypatch.setattr(lock.time, "time", lambda: now() + CLOCKS_SECONDS - 10)
    claim = tmp_path / ".claim-1"
    for ago, dead in ((STALE_SECONDS - 5, False), (STALE_SECONDS + 11, True)):
        os.utime(claim, (now() - ago, now() - ago))
        assert is_locked(tmp_path) is not dead
    lock_folder(tmp_path).release()


def test_a_claim_that_cannot_be_read_is_not_taken_for_a_lost_one(tmp_path, monkeypatch):
    held = lock_folder(tmp_path)

    def fail(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(lock.Path, "read_bytes", fail)
        with pytest.raises(lock.WriteError, match=f"cannot write {tmp_path}: Input/output error"):
            held.check()
    held.check()
    held.release()


def test_a_claim_is_touched_while_its_owner_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.01)
    held = lock_folder(tmp_path)
    age(tmp_path, 1000)
    end = time.monotonic() + 60
    while time.time() - (tmp_path / ".claim-1").stat().st_mtime > 500:
        assert time.monotonic() < end
        time.sleep(0.01)
    held.release()


def test_a_dead_process_of_this_machine_is_followed_at_once(tmp_path):
    for number in (1, 2):
        pid = os.fork()
        if pid == 0:
            lock_folder(tmp_path)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(pid, 0)
        assert claims(tmp_path) == [f".claim-{number}"]
        assert not is_locked(tmp_path)
    held = lock_folder(tmp_path)
    held.check()
    assert claims(tmp_path) == [".claim-3"]
    held.release()


@pytest.mark.parametrize("claimed", [False, True])
def test_of_several_that_come_at_once_one_gets_it(tmp_path, monkeypatch, on, claimed):
    """All of them have seen no owner, or one that is dead, before the first of them acts."""
    if claimed:
        on("node1")
        lock_folder(tmp_path)
        age(tmp_path, STALE_SECONDS + 1)
    on("node2")
    together, find = threading.Barrier(4), lock._find_claim
    seen = threading.local()

    def find_together(folder):
        found = find(folder)
        if not hasattr(seen, "one"):
            seen.one = together.wait(timeout=60)
        return found

    monkeypatch.setattr(lock, "_find_claim", find_together)
    held, refused = [], []

    def come():
        try:
            held.append(lock_folder(tmp_path))
        except UserError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1 and len(refused) == 3
    assert all("in use" in message for message in refused)
    assert claims(tmp_path) == [f"{CLAIM}{1 + claimed}"]
    held[0].check()
    held[0].release()


@pytest.mark.parametrize("content", [b"", b"{", b'{"machine": 1}', b"[" * 9999, b"\xff"])
def test_a_claim_that_tells_nothing_counts_until_it_is_stale(tmp_path, content):
    (tmp_path / ".lock").touch()
    (tmp_path / ".claim-7").write_bytes(content)
    (tmp_path / ".claim-note").write_text("of somebody else")
    assert is_locked(tmp_path)
    with pytest.raises(UserError, match=r"already running \(an unknown process\)"):
        lock_folder(tmp_path)
    then = time.time() - STALE_SECONDS - 1
    os.utime(tmp_path / ".claim-7", (then, then))
    lock_folder(tmp_path).release()
    assert claims(tmp_path) == [".claim-note"]


def test_a_claim_that_cannot_be_read_is_no_dead_one(tmp_path, monkeypatch, on):
    on("node1")
    held = lock_folder(tmp_path)
    on("node2")
    opened = lock.open_plain

    def fail(path, flags):
        if path.name.startswith(CLAIM):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, flags)

    monkeypatch.setattr(lock, "open_plain", fail)
    assert is_locked(tmp_path)
    with pytest.raises(UserError, match="Input/output error"):
        lock_folder(tmp_path)
    held.check()
    held.release()


def test_looking_for_a_moment_keeps_nobody_out(tmp_path, monkeypatch):
    """`is_locked` holds a lock too."""
    looks = []

    def flock(descriptor, operation):
        looks.append(operation)
        if len(looks) < lock.TRIES:
            raise BlockingIOError

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    lock_folder(tmp_path).release()
    assert len(looks) == lock.TRIES


def test_a_run_that_loses_its_folder_writes_no_more(tmp_path, monkeypatch, capsys, on):
    path = tmp_path / "run"
    found = {}

    def halt(task_id, step):
        if (task_id, step) == (1, 100):
            age(path, STALE_SECONDS + 1)
            on("node2")
            found["owner"] = lock_folder(path)
            on("node1")
            found["files"] = snapshot(path)

    on("node1")
    monkeypatch.setattr(toy_plugin, "on_step", halt)
    assert run_toy(path, "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"the folder was lost: taken over by pid {os.getpid()} on node2" in line
    assert snapshot(path) == found["files"]
    found["owner"].check()
    found["owner"].release()


def test_a_file_system_without_hard_links_has_claims_too(tmp_path, monkeypatch, on):
    def refuse(source, target):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(lock.os, "link", refuse)
    on("node1")
    held = lock_folder(tmp_path)
    on("node2")
    with pytest.raises(UserError, match="on node1"):
        lock_folder(tmp_path)
    assert claims(tmp_path) == [".claim-1"]
    held.check()
    held.release()
