"""What checkpoints within tasks are made of: when they are due, and experience in segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from lifelong_rl.agents.buffers import ARRAYS, TaskReplayBuffer
from lifelong_rl.runs import within_task
from lifelong_rl.runs.checkpoint import CheckpointError
from lifelong_rl.runs.within_task import CheckpointClock, Segments, check_of_task

OBS, ACTIONS, ENVS, ROOM = 3, 2, 2, 8


def clock_at(
    monkeypatch: pytest.MonkeyPatch, minutes: float
) -> tuple[CheckpointClock, list[float]]:
    now = [0.0]
    monkeypatch.setattr(within_task, "perf_counter", lambda: now[0])
    return CheckpointClock(minutes), now


def test_a_checkpoint_is_due_after_some_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now = clock_at(monkeypatch, 10.0)
    due = []
    for seconds in (0, 599.9, 600):
        now[0] = seconds
        due.append(clock.is_due)
    assert due == [False, False, True]
    clock.restart()
    assert not clock.is_due


@pytest.mark.parametrize("minutes", [0.001, 1.0])
def test_checkpoints_cost_a_twentieth_of_the_time_at_most(
    monkeypatch: pytest.MonkeyPatch, minutes: float
) -> None:
    clock, now = clock_at(monkeypatch, minutes)
    spent = 0.0
    while now[0] < 100_000:
        if clock.is_due:
            now[0] += 30.0  # what it takes to write one
            spent += 30.0
            clock.restart(30.0)
        now[0] += 1.0
    assert 0.045 < spent / now[0] <= 0.05 + 30 / now[0]


def test_without_minutes_none_is_ever_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now = clock_at(monkeypatch, 0)
    now[0] = 1e12
    assert not clock.is_due


def buffer() -> TaskReplayBuffer:
    box = spaces.Box(-1, 1, (OBS,), np.float32), spaces.Box(-1, 1, (ACTIONS,), np.float32)
    return TaskReplayBuffer(ROOM * ENVS, *box, "cpu", ENVS)


def add(target: TaskReplayBuffer, steps: int) -> None:
    for _ in range(steps):
        k = target.added
        observations = np.full((ENVS, OBS), k, np.float32) + np.arange(ENVS)[:, None]
        infos: list[dict[str, Any]] = [{"TimeLimit.truncated": k % 3 == 0}] * ENVS
        rewards, dones = np.full(ENVS, k / 8), np.full(ENVS, k % 3 == 0)
        target.add(observations, observations + 1, np.ones((ENVS, ACTIONS)), rewards, dones, infos)


def read_back(folder: Path, listing: list[dict[str, Any]]) -> TaskReplayBuffer:
    other = buffer()
    Segments(folder, listing).load(other)
    return other


def assert_equal(one: TaskReplayBuffer, other: TaskReplayBuffer) -> None:
    assert (one.pos, one.full, one.added, one.size()) == (
        other.pos, other.full, other.added, other.size(),
    )  # fmt: skip
    for name in ARRAYS:
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_segments_are_written_once_and_give_all_back(tmp_path: Path) -> None:
    own, segments, written = buffer(), Segments(tmp_path / "seen"), {}
    for steps in (3, 0, 2, 1):
        add(own, steps)
        segments.extend(own)
        for path in (tmp_path / "seen").iterdir():
            stamp = path.stat().st_mtime_ns, path.read_bytes()
            assert written.setdefault(path.name, stamp) == stamp
        assert_equal(read_back(tmp_path / "seen", segments.listing), own)
    assert [(s["first"], s["end"]) for s in segments.listing] == [(0, 3), (3, 5), (5, 6)]


def test_what_a_full_buffer_drops_is_removed(tmp_path: Path) -> None:
    own, segments = buffer(), Segments(tmp_path / "seen")
    for steps in (3, 4, 4, 5, 20, 1):
        add(own, steps)
        segments.extend(own)
        segments.tidy()
        assert {path.name for path in (tmp_path / "seen").iterdir()} == {
            segment["name"] for segment in segments.listing
        }
        assert_equal(read_back(tmp_path / "seen", segments.listing), own)
    assert [(s["first"], s["end"]) for s in segments.listing] == [(28, 36), (36, 37)]


def test_large_stretches_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, segments = buffer(), Segments(tmp_path / "seen")
    add(own, 7)
    monkeypatch.setattr(
        within_task, "SEGMENT_BYTES", 3 * sum(a.nbytes for a in own.read(0, 1).values())
    )
    segments.extend(own)
    assert [(s["first"], s["end"]) for s in segments.listing] == [(0, 3), (3, 6), (6, 7)]
    assert_equal(read_back(tmp_path / "seen", segments.listing), own)


def test_only_segments_are_removed(tmp_path: Path) -> None:
    own, segments = buffer(), Segments(tmp_path / "seen")
    add(own, 2)
    segments.extend(own)
    (tmp_path / "seen" / "notes.txt").touch()
    Segments(tmp_path / "seen").tidy()
    assert [path.name for path in (tmp_path / "seen").iterdir()] == ["notes.txt"]


def test_damage_is_refused(tmp_path: Path) -> None:
    own, segments = buffer(), Segments(tmp_path / "seen")
    add(own, 2)
    segments.extend(own)
    (path,) = (tmp_path / "seen").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="its checksum differs"):
        segments.check()
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        segments.check()


@pytest.mark.parametrize("name", ["../secret", "0-1.safetensors.tmp", "/etc/passwd"])
def test_no_other_file_is_read(tmp_path: Path, name: str) -> None:
    segment = {"name": name, "first": 0, "end": 1, "sha256": "", "arrays": []}
    of_task: dict[str, Any] = {
        "step": 1, "due": [], "mark": (0, 0.0), "learn_seconds": 0.0, "evaluate_seconds": 0.0,
        "update_cost": {}, "generators": {}, "env": {}, "segments": [segment],
    }  # fmt: skip
    with pytest.raises(CheckpointError, match="it names"):
        check_of_task(tmp_path, of_task)
    with pytest.raises(CheckpointError, match="step is '1', not a whole number"):
        check_of_task(tmp_path, {**of_task, "step": "1"})
