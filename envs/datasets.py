"""Datasets that are worth keeping: what tells one from another, and who keeps it.

Whatever makes a dataset (`lifelong_rl.envs.vec_env.BatchVecEnv.demonstrations`,
`lifelong_rl.envs.labelled_frames`) describes it first and leaves it to a store whether it is made
or taken from where it was kept. This package keeps nothing itself;
`lifelong_rl.storage.dataset_cache` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.scenes import ASSETS

Arrays = Mapping[str, npt.NDArray[Any]]
"""A dataset: its arrays by name."""

Store = Callable[[Mapping[str, Any], Callable[[], Arrays]], Arrays]
"""Takes a dataset's description and what makes it, and returns the dataset.

The description is JSON and decides the dataset to the last bit; its "kind" is a plural noun such
as "demonstrations", its "task" the name of the task."""


def make_anew(description: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """Return the dataset, made at every call: the store that keeps nothing."""
    return make()


def made_with() -> dict[str, str]:
    """Return what decides a dataset beside its arguments, for its description."""
    return {"mujoco": mujoco.__version__, "numpy": np.__version__, "sources": _digest_of_sources()}


@cache
def _digest_of_sources() -> str:
    """Return a digest of this package's code and of the MuJoCo models.

    Experts change without a task's version; with this, no dataset outlives the code it came from.
    """
    digest = hashlib.sha256()
    code = sorted(Path(__file__).parent.rglob("*.py"))
    for path in (*code, *sorted(ASSETS.glob("*.xml"))):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
