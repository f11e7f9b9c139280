"""What is registered in a file is found by the folder's entry point, and imported when needed."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest

from lifelong_rl import continual, registry
from lifelong_rl.cli import main
from lifelong_rl.envs.sequences import get_sequence
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.manual import read_manual
from lifelong_rl.registry import (
    AGENTS,
    METHODS,
    OBJECTIVES,
    SEQUENCE_MAKERS,
    SEQUENCES,
    TASKS,
    Registry,
)
from lifelong_rl.runs.sequence import load_sequence

FILES = {
    "methods/shrink.py": '''
from lifelong_rl.continual import METHODS, ContinualMethod

@METHODS.register("shrink")
class Shrink(ContinualMethod):
    """Pulls every parameter towards zero."""
''',
    "methods/family.py": '''
from lifelong_rl.continual import METHODS, ContinualMethod

class Member(ContinualMethod):
    """One of a family."""

for number in (1, 2):
    METHODS.register(f"member-{number}")(type(f"Member{number}", (Member,), {}))
''',
    "methods/heirs.py": '''
import lifelong_rl.continual.replay
from lifelong_rl.continual import METHODS, replay

Base = replay.Replay

@METHODS.register("heir-by-module")
class ByModule(replay.Replay):
    """Names the module of its base."""

@METHODS.register("heir-by-path")
class ByPath(lifelong_rl.continual.replay.Replay):
    """Names the package of its base."""

@METHODS.register("heir-by-table")
class ByTable(METHODS.get("replay")):
    """Takes its base from the table."""

@METHODS.register("heir-by-variable")
class ByVariable(Base):
    """Calls its base otherwise."""
''',
    "methods/torn.py": "@METHODS.register('torn')\ndef (",
    "methods/rude.py": """
from lifelong_rl.continual import METHODS
METHODS.register(1 / 0)
""",
    "methods/thief.py": '''
from lifelong_rl.continual import METHODS, ContinualMethod

@METHODS.register("ewc")
class Other(ContinualMethod):
    """Goes by a name that is taken."""
''',
    "agents/idle.py": '''
from lifelong_rl.registry import AGENTS

@AGENTS.register("idle")
class Idle:
    """Does nothing."""

    build = None
''',
    "objectives/nothing.py": '''
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.objectives.base import SelfSupervised

@OBJECTIVES.register("nothing")
class Nothing(SelfSupervised):
    """Learns nothing."""
''',
    "tasks/wave.py": '''
from lifelong_rl.envs.tasks.reach import Reach
from lifelong_rl.registry import EXPERTS, SEQUENCES, TASKS

@TASKS.register("wave")
class Wave(Reach):
    """Reach by another name."""

    name = "wave"

EXPERTS.register("wave")(EXPERTS["reach"])
''',
    "sequences.py": """
from lifelong_rl.envs.sequences import Sequence
from lifelong_rl.registry import SEQUENCE_MAKERS, SEQUENCES

SEQUENCES.register("waves")(Sequence("waves", ("wave", "wave"), "waving twice"))

@SEQUENCE_MAKERS.register("times")
def repeat(rest):
    number, task = rest.split("*")
    return Sequence(rest, int(number) * (task,), "the same over again")
""",
}
POINTS = """
[lifelong_rl.methods]
elsewhere = elsewhere_folders.methods
[lifelong_rl.agents]
elsewhere = elsewhere_folders.agents
lost = elsewhere_folders.no_such_folder
[lifelong_rl.objectives]
elsewhere = elsewhere_folders.objectives
[lifelong_rl.tasks]
elsewhere = elsewhere_folders.tasks
[lifelong_rl.experts]
elsewhere = elsewhere_folders.tasks
[lifelong_rl.sequences]
elsewhere = elsewhere_folders.sequences
[lifelong_rl.sequence-makers]
elsewhere = elsewhere_folders.sequences
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registries: None) -> str:
    """An installed package with a file for each thing; its name."""
    for name, text in FILES.items():
        path = tmp_path / "elsewhere_folders" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for folder in (tmp_path / "elsewhere_folders", *(tmp_path / "elsewhere_folders").iterdir()):
        if folder.is_dir():
            (folder / "__init__.py").touch()
    info = tmp_path / "elsewhere_folders-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere-folders\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    for module in [name for name in sys.modules if name.startswith("elsewhere_folders")]:
        monkeypatch.delitem(sys.modules, module)
    importlib.invalidate_caches()
    return "elsewhere_folders"


def test_a_file_is_enough_and_is_imported_when_it_is_asked_for(elsewhere: str) -> None:
    for table, folder, module, name in (
        (METHODS, "methods", "shrink", "shrink"),
        (AGENTS, "agents", "idle", "idle"),
        (OBJECTIVES, "objectives", "nothing", "nothing"),
        (TASKS, "tasks", "wave", "wave"),
    ):
        assert name in table.names()
        assert table.describe(name).endswith(".")
        assert f"{elsewhere}.{folder}.{module}" not in sys.modules
        assert table.get(name) is table[name]
        assert f"{elsewhere}.{folder}.{module}" in sys.modules
    assert isinstance(continual.make("shrink"), METHODS["shrink"])
    assert METHODS.names()[:2] == ["agem", "c-chain"]  # what ships with the project comes first


@pytest.mark.parametrize("way", ["module", "path", "table", "variable"])
def test_what_a_base_declares_is_found_however_the_base_is_named(elsewhere: str, way: str) -> None:
    assert METHODS.declared(f"heir-by-{way}", "needs") == ("replayable losses",)
    options = [option.name for option in read_manual("methods", f"heir-by-{way}").options]
    assert options[:2] == ["per_task", "ratio"] and options[-1] == "scope"
    imported = f"{elsewhere}.methods.heirs" in sys.modules
    assert imported == (way in ("table", "variable"))  # only these do not tell


def test_a_task_from_a_file_is_known_everywhere(elsewhere: str) -> None:
    assert get_sequence("reach,wave").tasks == ("reach", "wave")
    wave, reach = (
        load_sequence(name).make_env(0, num_envs=2, seed=3) for name in ("wave", "reach")
    )
    np.testing.assert_array_equal(wave.reset(), reach.reset())
    assert load_sequence("wave").offers == ("continuous actions", "expert")
    assert load_sequence("waves").tasks == ("wave", "wave")


def test_names_that_are_computed_are_found_by_importing_the_file(elsewhere: str) -> None:
    assert {"member-1", "member-2"} <= set(METHODS.names())
    assert METHODS.describe("member-1") == "One of a family."


def test_what_is_broken_has_a_line_and_the_others_are_listed(
    elsewhere: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list"]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    broken = {line[0].removeprefix(f"{elsewhere}."): line[2] for line in lines if "broken:" in line}
    assert broken["methods.torn"].startswith("SyntaxError: ")
    assert broken["methods.rude"] == "ZeroDivisionError: division by zero"
    assert broken["methods.thief"] == (
        "the method name 'ewc' is taken by lifelong_rl.continual.ewc"
    )
    assert broken["no_such_folder"].startswith("ImportError: ")
    assert len(broken) == 4
    names = [line[0] for line in lines]
    assert {"shrink", "ewc", "idle", "wave", "waves", "nothing"} <= set(names)
    assert METHODS["ewc"].__module__ == "lifelong_rl.continual.ewc"
    with pytest.raises(UserError, match=r"'torn' \(elsewhere_folders.methods.torn\) is broken"):
        METHODS.get("torn")
    assert main(["list", "torn"]) == 2
    assert "'torn' (elsewhere_folders.methods.torn) is broken" in capsys.readouterr().err


def test_a_kind_of_sequence_is_made_by_its_maker(elsewhere: str) -> None:
    assert load_sequence("times:3*reach").tasks == ("reach",) * 3
    assert load_sequence("tasks:push,reach").tasks == load_sequence("push,reach").tasks
    with pytest.raises(UnknownNameError, match="unknown sequence 'arm-3'; did you mean 'arm3'"):
        load_sequence("arm-3")
    with pytest.raises(UnknownNameError, match="unknown sequence 'time:3'"):
        load_sequence("time:3")
    assert {"tasks", "times"} <= set(SEQUENCE_MAKERS)


def test_a_name_belongs_to_the_module_that_has_it(fresh_registries: None) -> None:
    with pytest.raises(UserError, match="'arm3' is already taken by lifelong_rl"):
        SEQUENCES.register("arm3")(object())
    SEQUENCES.register("mine")(1)
    SEQUENCES.register("mine")(2)  # the module is imported again
    assert SEQUENCES["mine"] == 2


def test_of_two_packages_the_same_one_has_a_name_everywhere(
    monkeypatch: pytest.MonkeyPatch, fresh_registries: None
) -> None:
    both = [
        EntryPoint(name, f"{package}.x:Same", METHODS.group)
        for package in ("second", "first")
        for name in ("same", "other")
    ]
    for points in (both, both[::-1]):
        own = importlib.metadata.entry_points(group="lifelong_rl.agents")
        found = EntryPoints([*points, *own])
        monkeypatch.setattr(registry, "entry_points", lambda group, e=found: e.select(group=group))
        table = Registry("method")
        assert set(table.names()) == {"same", "other"}
        assert table.broken == {
            "second.x": "the method name 'other' is taken by first.x; "
            "the method name 'same' is taken by first.x"
        }


def test_a_table_reads_like_a_mapping(fresh_registries: None) -> None:
    assert TASKS["reach"] is dict(TASKS.items())["reach"]
    assert len(TASKS) == len(list(TASKS)) == len(list(TASKS.values()))
    assert "reach" in TASKS and "reech" not in TASKS
    assert all(task.name == name for name, task in TASKS.items())
    assert all(sequence.name == name for name, sequence in SEQUENCES.items())


def test_without_an_installation_an_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    registry._check_installed.cache_clear()
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints())
    with pytest.raises(UserError, match=r"is not installed as it is .* pip install --editable /"):
        Registry("method").names()
