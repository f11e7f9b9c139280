"""Tasks from outside."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from lifelong_rl import envs
from lifelong_rl.envs.experts import EXPERTS, get_expert
from lifelong_rl.envs.registration import import_entry_points
from lifelong_rl.envs.sequences import get_sequence
from lifelong_rl.envs.tasks.push import Push
from lifelong_rl.envs.tasks.reach import Reach


class Wave(Reach):
    """Reach by another name."""

    name = "wave"


@pytest.fixture
def restored() -> Iterator[None]:
    tables: tuple[dict[str, Any], ...] = (envs.TASKS, EXPERTS, gymnasium.registry)
    saved = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, saved, strict=True):
        table.clear()
        table.update(before)


def test_a_registered_task_is_known_everywhere(restored: None) -> None:
    envs.register_task(Wave(), get_expert("reach"))
    assert get_sequence("push,wave").tasks == ("push", "wave")
    one, twin = gymnasium.make("LifelongRL/Wave-v0"), gymnasium.make("LifelongRL/Reach-v0")
    np.testing.assert_array_equal(one.reset(seed=3)[0], twin.reset(seed=3)[0])
    assert get_expert("wave") is get_expert("reach")
    envs.register_task(Wave())  # a module that is imported again


def test_a_name_cannot_be_taken_twice(restored: None) -> None:
    class Impostor(Push):
        name = "reach"

    with pytest.raises(ValueError, match="the task name 'reach' is already taken"):
        envs.register_task(Impostor())
    assert isinstance(envs.TASKS["reach"], Reach)


def test_a_broken_entry_point_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lifelong_rl.tasks]\nlost = no_such_module\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.warns(UserWarning, match=r"the task 'lost' \(no_such_module\) cannot be imported"):
        import_entry_points()
