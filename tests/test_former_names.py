"""What was imported by another name is refused in one line that tells its name of today."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lifelong_rl.cli import main
from lifelong_rl.errors import UserError
from lifelong_rl.former_names import FORMER_NAMES, find_current_name
from lifelong_rl.registry import Registry

EXAMPLES = {  # the imports of the examples of the documentation, as they were
    "hover": (
        """
import numpy as np

import envs
from envs.arm.observation import MAX_OPENING, State, distance
""",
        "No module named 'envs'; 'envs' is 'lifelong_rl.envs' now (see docs/renaming.md)",
    ),
    "reinforce": (
        """
import torch

from lifelong_rl.benchmark import AGENTS
from lifelong_rl.continual import ContinualMethod
""",
        "No module named 'lifelong_rl.benchmark'; 'lifelong_rl.benchmark' is "
        "'lifelong_rl.registry' now (see docs/renaming.md)",
    ),
}
IMPORTS = {
    "from envs.task import uniform": "'envs.task' is 'lifelong_rl.envs.task' now",
    "import agents": "'agents' is 'lifelong_rl.agents' now",
    "from agents.sac import (\n    SAC,\n)": "'agents.sac' is 'lifelong_rl.agents.sac' now",
    "from lifelong_rl.continual.base import ContinualMethod": (
        "'lifelong_rl.continual.base' is 'lifelong_rl.learning.method' now"
    ),
    "from lifelong_rl.benchmark.dataset_cache import get_dataset": (
        "'lifelong_rl.benchmark.dataset_cache' is 'lifelong_rl.storage.dataset_cache' now"
    ),
    "from lifelong_rl import benchmark": "'lifelong_rl.benchmark' is 'lifelong_rl.registry' now",
    "from lifelong_rl.continual.projection import flatten": (
        "'lifelong_rl.continual.projection.flatten' is "
        "'lifelong_rl.learning.parameters.flatten' now"
    ),
}


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the working directory, which is a checkout no longer."""
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).parents[1]
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry) != root])
    return tmp_path / "old_plugin.py"


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["run", "--plugin", "old_plugin"]) == 2
    sys.modules.pop("old_plugin", None)
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize("example", EXAMPLES)
def test_old_examples(plugin: Path, capsys: pytest.CaptureFixture[str], example: str) -> None:
    source, expected = EXAMPLES[example]
    plugin.write_text(source)
    assert refusal(capsys) == (
        "lifelong-rl: the plug-in 'old_plugin' cannot be imported: ModuleNotFoundError: " + expected
    )


@pytest.mark.parametrize("statement", IMPORTS)
def test_old_imports(plugin: Path, capsys: pytest.CaptureFixture[str], statement: str) -> None:
    plugin.write_text(f'"""An old plug-in."""\n{statement}\n')
    assert IMPORTS[statement] in refusal(capsys)


def test_an_entry_point_that_imports_an_old_name(plugin: Path) -> None:
    plugin.write_text("from envs.task import uniform\n")
    info = plugin.parent / "elsewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lifelong_rl.methods]\nold = old_plugin:Old\n")
    sys.path.append(str(plugin.parent))
    with pytest.raises(UserError, match=r"'envs\.task' is 'lifelong_rl\.envs\.task' now"):
        Registry("method").get("old")


def test_modules_that_were_never_ours_are_not_explained(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin.write_text("import nowhere\n")
    assert refusal(capsys).endswith("ModuleNotFoundError: No module named 'nowhere'")
    assert find_current_name("envs.of_my_own") is None
    assert find_current_name("numpy") is None


@pytest.mark.parametrize("former", FORMER_NAMES)
def test_the_names_of_today_exist(former: str) -> None:
    current = FORMER_NAMES[former]
    module, _, name = current.rpartition(".")
    try:
        import_module(current)
    except ModuleNotFoundError:
        assert hasattr(import_module(module), name)
    assert find_current_name(current) is None


def test_the_documentation_tells_of_every_name_that_moved() -> None:
    page = (Path(__file__).parents[1] / "docs" / "renaming.md").read_text()
    words = {word.rpartition(".")[2] for word in re.findall(r"[\w.]+", page)}
    for former, current in FORMER_NAMES.items():
        assert {former.rpartition(".")[2], current.rpartition(".")[2]} <= words, former
