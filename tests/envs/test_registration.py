"""Tasks from outside."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from lifelong_rl import envs
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.registration import register_environments
from lifelong_rl.envs.sequences import get_sequence
from lifelong_rl.envs.tasks.push import Push
from lifelong_rl.envs.tasks.reach import Reach
from lifelong_rl.errors import UserError


class Wave(Reach):
    """Reach by another name."""

    name = "wave"


@pytest.fixture
def restored(fresh_registries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)


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

    with pytest.raises(UserError, match="the task name 'reach' is already taken"):
        envs.register_task(Impostor())
    assert isinstance(envs.TASKS["reach"], Reach)


def test_a_broken_entry_point_is_warned_of(
    restored: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lifelong_rl.tasks]\nlost = no_such_module\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    with pytest.warns(UserWarning, match="the tasks of no_such_module cannot be imported"):
        register_environments()
