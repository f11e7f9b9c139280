"""`lifelong-rl list NAME`: manuals from the source, the same as from the live classes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lifelong_rl.cli import main
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.envs.sequences import Sequence
from lifelong_rl.manual import (
    FLAGS,
    TABLES,
    format_manual,
    read_docstring,
    read_manual,
    read_options,
)
from lifelong_rl.options import REQUIRED, options_of
from lifelong_rl.registry import METHODS, SEQUENCES

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("kind", FLAGS)
def test_options_read_from_the_source_are_those_of_the_class(kind: str) -> None:
    for name, thing in TABLES[kind].items():
        source = TABLES[kind].source(name)
        assert source is not None
        assert read_options(source) == tuple(options_of(thing).values()), name
        assert source.doc.partition("\n")[0] == TABLES[kind].describe(name)


@pytest.mark.parametrize("kind", TABLES)
def test_every_manual_tells_what_there_is(kind: str) -> None:
    for name in TABLES[kind]:
        manual = read_manual(kind, name)
        if not manual.module.startswith("lifelong_rl."):
            continue  # another test's plug-in
        assert manual.text
        for option in manual.options:
            assert option.doc, (name, option.name)


REASON = re.compile(
    r"\b(19|20)\d\d[a-z]?\b|\bpapers?\b|Continual World|authors' code|Baselines3's default"
    r"|\bas (many|much) as `|\bends at \d|\b(untuned|guess|measured)\b",
    re.IGNORECASE,
)
"""A source, another option whose reason holds here too, or that there is none."""


@pytest.mark.parametrize("kind", FLAGS)
def test_every_default_has_a_reason(kind: str) -> None:
    """Where it comes from, that it was measured, or that it was not tuned."""
    without = [
        f"{name} {option.name}"
        for name in TABLES[kind]
        if (manual := read_manual(kind, name)).module.startswith("lifelong_rl.")
        for option in manual.options
        if option.default is not REQUIRED and not REASON.search(option.doc)
    ]
    assert without == []


def test_no_manual_and_no_list_needs_torch() -> None:
    """Lists of what is learned with are read from files; tasks and sequences are objects."""
    names = ["ewc", "sac", "simclr", "cassle", "drawer-open", "valve-tri", "arm10", "frames"]
    code = (
        "import sys\n"
        "from lifelong_rl.cli import main\n"
        "for kind in ('agents', 'methods', 'objectives', 'encoder-methods'):\n"
        "    assert main(['list', kind]) == 0\n"
        "assert not {'numpy', 'mujoco', 'gymnasium'} & set(sys.modules)\n"
        f"for words in {[*([name] for name in names), ['methods'], []]!r}:\n"
        "    assert main(['list', *words]) == 0\n"
        "heavy = {'torch', 'stable_baselines3', 'sklearn', 'scipy', 'matplotlib', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def manual_of(name: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main(["list", name, *more]) == 0
    return capsys.readouterr().out


def test_the_manual_of_a_method(capsys: pytest.CaptureFixture[str]) -> None:
    out = manual_of("ewc", capsys)
    assert out.startswith("ewc (method)\n\nElastic weight consolidation: ")
    assert "  strength: a number of at least 0; default 10000\n      λ. Continual World" in out
    assert "  decay: a number in [0, 1] or null; default null\n" in out
    assert "  scope: 'policy', 'value' or 'both'; default policy\n" in out
    assert "\nreferences:\n  Kirkpatrick et al. 2017, Overcoming catastrophic" in out
    assert "  go with it: bc, bc-stream, classifier, offline-rl, ppo, regressor, sac,\n" in out
    assert out.endswith("defined in lifelong_rl.continual.ewc\n")
    assert "Args:" not in out and "Raises:" not in out


def test_a_name_of_two_kinds_has_two_manuals(capsys: pytest.CaptureFixture[str]) -> None:
    out = manual_of("replay", capsys)
    first, second = out.split("\n\n\n")
    assert first.startswith("replay (method)") and second.startswith("replay (encoder-method)")
    assert "not ppo (missing: losses that hold for rows of old tasks" in " ".join(first.split())


def test_the_manuals_of_tasks_and_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    out = manual_of("drawer-open", capsys)
    assert "**Success**: the drawer is open by 10 cm or more." in out
    assert "cameras              front, wrist, across\n" in out
    assert "sequences            arm3, arm10, arm20\n" in out
    out = manual_of("valve-tri", capsys)
    assert out.startswith("valve-tri (task)\n\nTurn a valve with three lobes by half a turn")
    out = manual_of("arm3", capsys)
    assert "tasks           reach, drawer-open, button-press\nsteps per task  10000\n" in out
    assert "not classifier (needed: data labelled with classes)" in out


def test_unknown_names_get_the_nearest_of_all_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, right in (("ecw", "ewc"), ("simcrl", "simclr"), ("method", "methods")):
        assert main(["list", wrong]) == 2
        hint = f"did you mean '{right}'? (see: lifelong-rl list)"
        assert capsys.readouterr().err == f"lifelong-rl: unknown name '{wrong}'; {hint}\n"


def test_the_names_of_two_kinds_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "qqqqqq"]) == 2
    assert capsys.readouterr().err.count(" replay,") == 1


def test_a_name_that_a_broken_plug_in_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old_plugin.py").write_text("from lifelong_rl.benchmark import METHODS\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["list", "pull", "--plugin", "old_plugin"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("lifelong-rl: unknown name 'pull', and old_plugin is broken: ")
    assert "'lifelong_rl.benchmark' is 'lifelong_rl.registry' now" in message


def test_a_plug_in_with_keyword_parameters_has_a_manual(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fresh_registries: None,
) -> None:
    (tmp_path / "pull_plugin.py").write_text(
        "from lifelong_rl.continual import METHODS, ContinualMethod\n"
        "from lifelong_rl.continual.memory import MemoryMethod\n"
        '@METHODS.register("pull")\n'
        "class Pull(MemoryMethod):\n"
        '    """Pull.\n\n    Args:\n        strength: How hard.\n    """\n'
        "    def __init__(self, *, strength: float | None = 1.0, near: bool = False) -> None:\n"
        "        super().__init__()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    out = manual_of("pull", capsys, "--plugin", "pull_plugin")
    assert "  strength: a number or null; default 1\n      How hard.\n" in out
    assert "  near: true or false; default false\n" in out
    assert "not ppo (missing: losses that hold" in out


def test_sequences_that_are_made_have_manuals(
    capsys: pytest.CaptureFixture[str], fresh_registries: None
) -> None:
    @SEQUENCES.register("by-function")
    def make() -> Sequence:
        """Made by a function."""
        return Sequence("by-function", ("reach", "push"), "two tasks")

    class Made(Sequence):
        """Made by a class."""

        def __init__(self) -> None:
            super().__init__("by-class", ("reach",), "one task")

    SEQUENCES.register("by-class")(Made)
    SEQUENCES.register("by-nobody")(len)
    assert "\ntasks           reach, push\n" in manual_of("by-function", capsys)
    assert "\ntasks           reach\n" in manual_of("by-class", capsys)
    assert ", by-function, by-class\n" in manual_of("reach", capsys)


def test_a_class_without_a_file_has_a_manual(fresh_registries: None) -> None:
    described = {"__doc__": "Made on the spot.", "__module__": "nowhere"}
    local = type("Local", (ContinualMethod,), described)
    METHODS.register("local")(local)
    manual = read_manual("methods", "local")
    assert format_manual(manual).startswith("local (method)\n\nMade on the spot.")


def test_a_docstring_falls_into_text_and_references() -> None:
    text, references = read_docstring(
        """First line.

        More
        of it.

        Args:
            one: Left out.

                More of what is left out.

        Then this.

        References:
            A 2001, Something that
                goes on.
            B 2002, Else.

        Raises:
            ValueError: Never.
        """
    )
    assert text == "First line.\n\nMore\nof it.\n\nThen this."
    assert references == ("A 2001, Something that goes on.", "B 2002, Else.")
