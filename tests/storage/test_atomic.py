"""A write that is cut off leaves what was there before."""

import errno
import os

import pytest

from lifelong_rl.storage import atomic
from lifelong_rl.storage.atomic import (
    WriteError,
    remove_folder,
    remove_temporary,
    replacing,
    write_file,
    write_folder,
    write_json,
)


class Crash(BaseException):
    pass


def crash_at(monkeypatch, name, call):
    """Let the `call`-th call of os.`name` raise Crash, as if the process ended there."""
    original, calls = getattr(os, name), []

    def crash(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise Crash
        return original(*arguments)

    monkeypatch.setattr(atomic.os, name, crash)


@pytest.mark.parametrize("name, call", [("fsync", 1), ("replace", 1)])
def test_a_file_is_old_until_the_new_one_is_on_disk(tmp_path, monkeypatch, name, call):
    path = tmp_path / "status.json"
    write_file(path, b"old")
    crash_at(monkeypatch, name, call)
    with pytest.raises(Crash):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    remove_temporary(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["status.json"]


@pytest.mark.parametrize("name, call", [("fsync", 1), ("fsync", 2), ("fsync", 3), ("rename", 1)])
def test_a_folder_is_not_there_until_it_is_on_disk(tmp_path, monkeypatch, name, call):
    path = tmp_path / "task-001"
    crash_at(monkeypatch, name, call)
    with pytest.raises(Crash):
        write_folder(path, {"a": b"1", "b": b"2"})
    assert not path.exists()
    monkeypatch.undo()
    write_folder(path, {"a": b"3", "b": b"4"})
    assert (path / "b").read_bytes() == b"4"
    assert [p.name for p in tmp_path.iterdir()] == ["task-001"]


def test_a_folder_is_removed_at_once(tmp_path, monkeypatch):
    path = tmp_path / "task-001"
    write_folder(path, {"a": b"1"})
    monkeypatch.setattr(atomic.shutil, "rmtree", lambda path: (_ for _ in ()).throw(Crash))
    with pytest.raises(Crash):
        remove_folder(path)
    assert not path.exists()


def test_contents_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(
            atomic.os, name, lambda *a, o=original, n=name: (order.append(n), o(*a))[1]
        )
    write_file(tmp_path / "f", b"x")
    assert order == ["fsync", "replace", "fsync"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(WriteError, match=rf"cannot write {tmp_path / 'f'}: No space left"):
        write_file(tmp_path / "f", b"x")


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "f", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_writers_of_one_file_come_one_after_the_other(tmp_path):
    """Each writes another content of another length; what is read is always one of them."""
    path, contents = tmp_path / "f", [bytes([k]) * (1000 + 700 * k) for k in range(4)]
    write_file(path, contents[0])
    children = []
    for content in contents:
        child = os.fork()
        if child == 0:
            try:
                for _ in range(60):
                    write_file(path, content)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    found = set()
    while children:
        found.add(path.read_bytes())
        for child in list(children):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                assert status == 0
                children.remove(child)
    assert found <= set(contents)
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_file_system_without_locks_is_written_as_well_as_can_be(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    (tmp_path / "f.tmp").write_text("longer than what is written now")
    write_file(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"


@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_is_kept_until_what_replaces_it_is_there(tmp_path, killed):
    path = tmp_path / "data"
    write_folder(path, {"old": b"1"})
    if killed:  # when the other one had been begun
        path.rename(tmp_path / "data.old.tmp")
        write_folder(path, {"half": b"1"})
    with pytest.raises(Crash), replacing(path):
        assert not path.exists()
        write_folder(path, {"half": b"2"})
        raise Crash
    assert [p.name for p in path.iterdir()] == ["old"]
    with replacing(path):
        write_folder(path, {"new": b"2"})
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["data", "data/new"]
