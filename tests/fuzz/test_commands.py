"""Whatever a command is given: it works, or says one line and ends with 2; nothing else is touched.

`make test-fuzz` does this for a minute. By hand, without a limit and with the counts in a file:

    python -m pytest -m fuzz --fuzz-inputs 400 --fuzz-seconds 0 --fuzz-json docs/results/fuzz.json
"""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from inputs import COMMANDS, Input, inputs
from world import Outcome, World, in_one_process

DOCUMENTED = (
    "lifelong-rl: stopped in ",  # a run that cannot go on: RunFailed
    "lifelong-rl: there is not enough memory: ",
)
"""What a command that ends with 1 says."""
TOUCHED = (".lock", "status.json", "manifest.json", "metrics.jsonl", "tb/", "sweep.log", ".tmp")
"""Of a run that goes on and fails."""


class Enough(Exception):
    """Raised to make an end; Hypothesis would go on for the number of inputs that it was told."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("fuzz")
    with in_one_process(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(root / "home"))
        yield World(root / "work")


@pytest.mark.fuzz
@pytest.mark.parametrize("command", COMMANDS)
def test_it_works_or_says_one_line(command, world, fuzz):
    counts, seen = fuzz.counts[command], set()
    deadline = time.monotonic() + fuzz.seconds / len(COMMANDS) if fuzz.seconds else float("inf")

    @seed(fuzz.seed)
    @settings(
        max_examples=6 * fuzz.inputs,  # many come twice
        database=None,
        deadline=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(command))
    def check(made: Input) -> None:
        if counts["inputs"] >= fuzz.inputs or time.monotonic() > deadline:
            raise Enough
        if counts["failed"] and fuzz.path is None:
            raise Enough
        if repr(made) in seen:
            return
        seen.add(repr(made))
        world.restore()
        problem, outcome = find_problem(world, made)
        counts["inputs"] += 1
        if problem is None:
            counts["accepted" if outcome.exit_code == 0 else "refused"] += 1
        else:
            counts["failed"] += 1
            fuzz.told.append(f"{problem} (seed {fuzz.seed}):\n{made!r}\n{outcome!r}")

    with suppress(Enough):
        check()
    fuzz.write()
    assert counts["failed"] == 0, "\n\n".join(fuzz.told)


def find_problem(world: World, made: Input) -> tuple[str | None, Outcome]:
    """What is wrong with what an input has done, None if nothing is; and what it has done."""
    for _, spoil in made.damage:
        spoil(world.path)
    before = world.scan()
    outcome = world.do(made.words)
    after = world.scan()
    changes = {
        name: "removed" if name not in after else "added" if name not in before else "changed"
        for name in before.keys() | after.keys()
        if before.get(name, "") != after.get(name, "")
    }
    return find_wrong_end(made, outcome) or find_wrong_change(
        world, made, outcome, changes
    ), outcome


def find_wrong_end(made: Input, outcome: Outcome) -> str | None:
    """What is wrong with the exit code and what is told."""
    if outcome.raised is not None:
        return f"an exception came out: {outcome.raised!r}"
    lines = outcome.err.splitlines()
    if "unexpected " in outcome.err and "(add --debug" in outcome.err:
        return "an unexpected error"
    if "--debug" in made.words:
        return None
    if "Traceback" in outcome.err or "Traceback" in outcome.out:
        return "a traceback"
    match outcome.exit_code:
        case 0:
            if not outcome.out.strip():
                return "it says nothing"
        case 1:
            told_elsewhere = made.words[0] in ("sweep", "doctor") or "--verify" in made.words
            if not told_elsewhere and not outcome.err.startswith(DOCUMENTED):
                return "exit code 1, and no reason that is documented"
        case 2:
            if len(lines) != 1 or not lines[0].startswith("lifelong-rl: "):
                return "not one line"
            if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in lines[0]):
                return "a line that steers the terminal"
        case _:
            return f"exit code {outcome.exit_code}"
    return None


def find_wrong_change(
    world: World, made: Input, outcome: Outcome, changes: dict[str, str]
) -> str | None:
    """What is wrong with the files."""
    runs_on = made.words[0] in ("resume", "sweep", "run")
    for name, change in sorted(changes.items()):
        if change == "added" or Path(name).name == ".lock":
            continue
        allowed = any(name == one or name.startswith(one + "/") for one in made.writes)
        if not allowed:
            return f"{name} was {change}"
        if outcome.exit_code == 2 and not (runs_on and any(one in name for one in TOUCHED)):
            return f"it was refused, and {name} was {change}"
    plain = made.words[0] != "run" or "--help" not in made.words
    if outcome.exit_code == 0 and plain and "--dry-run" not in made.words:
        for name in made.makes:
            if name in made.words and not (world.path / name).exists():
                return f"{name} is not there"
    for path in world.path.rglob("results.json"):
        if str(path.relative_to(world.path)) in changes and path.is_file():
            json.loads(path.read_text())
    return None
