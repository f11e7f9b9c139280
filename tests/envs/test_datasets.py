"""What tells one dataset from another."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from lifelong_rl.envs import datasets, scenes


def test_the_digest_follows_code_and_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "envs"
    shutil.copytree(Path(datasets.__file__).parent, package)
    assets = tmp_path / "assets"
    shutil.copytree(scenes.ASSETS, assets)
    digest = datasets._digest_of_sources.__wrapped__
    here = digest()
    monkeypatch.setattr(datasets, "__file__", str(package / "datasets.py"))
    monkeypatch.setattr(datasets, "ASSETS", assets)
    assert digest() == here  # wherever it lies
    found = {here}
    for changed in (package / "experts" / "push.py", assets / "puck.xml"):
        changed.write_text(changed.read_text() + " ")
        found.add(digest())
    assert len(found) == 3


def test_datasets_are_made_with() -> None:
    found = datasets.made_with()
    assert found["mujoco"] == version("mujoco")
    assert found["numpy"] == np.__version__
    assert len(found["sources"]) == 64


def test_the_store_that_keeps_nothing() -> None:
    made = []

    def make() -> dict[str, np.ndarray]:
        made.append(1)
        return {}

    for _ in range(2):
        datasets.make_anew({"kind": "pictures", "task": "lift"}, make)
    assert len(made) == 2
