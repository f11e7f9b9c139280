"""A run folder from somebody else: what it links to is neither written, nor removed, nor shown."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_runs import PLUGIN, snapshot

from lifelong_rl.cli import main
from lifelong_rl.storage.metrics_log import write_image
from lifelong_rl.storage.plain_file import NotPlainError


@pytest.fixture
def run(toy_run, tmp_path):
    """A run as it is when it was killed in its last task."""
    path = Path(shutil.copytree(toy_run, tmp_path / "run"))
    shutil.rmtree(path / "checkpoints" / "task-003")
    (path / "results.json").unlink()
    return path


@pytest.fixture
def victim(tmp_path):
    """A folder of somebody, with what a careless program would take for its own."""
    path = tmp_path / "victim"
    path.mkdir()
    for name in ("thesis", "thesis.tmp", "events.out.tfevents.1"):
        (path / name).write_text("years of work")
    (path / "task-009.tmp").mkdir()
    return path


def put(place, target):
    """A link in place of what is there."""
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl", "checkpoints", "tb"])
@pytest.mark.parametrize("dangling", [False, True])
def test_links_that_would_be_written_through_are_refused(run, victim, capsys, name, dangling):
    target = victim / "new" if dangling else victim
    if not dangling and name in (".lock", "metrics.jsonl"):
        target = victim / "thesis"
    put(run / name, target)
    before = snapshot(victim)
    assert main(["resume", *PLUGIN, str(run), "--from", "task-001", "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    if not (name == "metrics.jsonl" or (name, dangling) == ("checkpoints", True)):
        assert f"{run / name} is a link to '{target}'" in line
    assert snapshot(victim) == before and (victim / "task-009.tmp").is_dir()


@pytest.mark.parametrize(
    "name",
    [
        "status.json",
        "status.json.tmp",
        "manifest.json.tmp",
        "results.json.tmp",
        "odd.tmp",
        "checkpoints/odd.tmp",
        "checkpoints/task-003.tmp",
        "checkpoints/task-002.old.tmp",
    ],
)
@pytest.mark.parametrize("target", ["thesis", "", "new"])
def test_other_links_are_replaced_or_removed(run, victim, name, target):
    put(run / name, victim / target)
    before = snapshot(victim)
    assert main(["resume", *PLUGIN, str(run), "--from", "task-001", "--quiet"]) == 0
    assert snapshot(victim) == before and (victim / "task-009.tmp").is_dir()
    assert not [path for path in run.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
def test_hard_links_that_would_be_written_through_are_refused(run, victim, capsys, name):
    (run / name).unlink()
    os.link(victim / "thesis", run / name)
    before = snapshot(victim)
    assert main(["resume", *PLUGIN, str(run), "--from", "task-001", "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    if name == ".lock":  # the other is shorter than the checkpoint tells
        assert f"{run / name} is a hard link: the file has other names" in line
    assert snapshot(victim) == before


def test_a_longer_file_that_is_a_hard_link_is_not_cut_off(run, victim, capsys):
    """As after `cp --link`, where the copy is to stay as it is."""
    os.link(run / "metrics.jsonl", victim / "metrics.jsonl")
    before = snapshot(victim)
    assert main(["resume", *PLUGIN, str(run), "--from", "task-001", "--quiet"]) == 2
    assert "metrics.jsonl is a hard link" in capsys.readouterr().err
    assert snapshot(victim) == before


@pytest.mark.parametrize("name", ["status.json", "status.json.tmp", "checkpoints/odd.tmp"])
def test_other_hard_links_are_replaced_or_removed(run, victim, name):
    (run / name).unlink(missing_ok=True)
    os.link(victim / "thesis", run / name)
    before = snapshot(victim)
    assert main(["resume", *PLUGIN, str(run), "--from", "task-001", "--quiet"]) == 0
    assert snapshot(victim) == before


@pytest.mark.parametrize("name", ["tb", "tb/clips"])
def test_pictures_of_clips_are_not_written_through_a_link(run, victim, name):
    put(run / name, victim)
    before = snapshot(victim)
    with pytest.raises(NotPlainError, match=f"{name} is a link to"):
        write_image(run / "tb" / "clips", "clip", np.zeros((2, 2, 3), np.uint8), 0)
    assert snapshot(victim) == before


def test_a_pipe_in_place_of_an_encoder_is_not_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "encoder")
    assert main(["probe", str(tmp_path / "encoder"), "--frames", "frames.npz"]) == 2
    assert "it is not a regular file" in capsys.readouterr().err


def test_a_pipe_is_not_waited_for(run, capsys):
    for name in (".lock", "metrics.jsonl", "status.json", "checkpoints/task-002/state.json"):
        copy = run.with_name("copy")
        shutil.copytree(run, copy)
        (copy / name).unlink()
        os.mkfifo(copy / name)
        code = main(["resume", *PLUGIN, str(copy), "--quiet"])
        assert code == (0 if name == "status.json" else 2), name
        assert len(capsys.readouterr().err.splitlines()) == (code > 0)
        shutil.rmtree(copy)
