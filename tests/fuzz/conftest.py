"""Puts the fuzzer's modules where tests find them, and counts what it has tried."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)


@dataclass
class Fuzzing:
    """What was asked for, and what has been tried.

    Attributes:
        inputs: At most so many of each command.
        seconds: For all commands together; 0 for as long as it takes.
        seed: Decides the inputs.
        keep_going: Whether to go on after a failure.
        counts: By command.
        told: Of the failures.
    """

    inputs: int
    seconds: float
    seed: int
    keep_going: bool
    counts: dict[str, dict[str, int]]
    told: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def fuzz(request):
    from inputs import COMMANDS

    option = request.config.getoption
    kinds = ("inputs", "accepted", "refused", "failed")
    fuzzing = Fuzzing(
        option("--fuzz-inputs"),
        option("--fuzz-seconds"),
        option("--fuzz-seed"),
        option("--fuzz-json") is not None,
        {command: dict.fromkeys(kinds, 0) for command in COMMANDS},
    )
    request.config.stash[KEY] = fuzzing
    yield fuzzing
    if option("--fuzz-json") is not None:
        write(Path(option("--fuzz-json")), fuzzing)


KEY = pytest.StashKey[Fuzzing]()


def write(path: Path, fuzzing: Fuzzing) -> None:
    """Write the counts; those of commands that were not tried this time stay.

    So the table can be made in parts, with -k: what a command is given depends on the seed alone.
    """
    from lifelong_rl.storage.versions import versions

    commands = json.loads(path.read_text())["commands"] if path.exists() else {}
    commands |= {name: one for name, one in fuzzing.counts.items() if one["inputs"]}
    total = {
        kind: sum(one[kind] for one in commands.values())
        for kind in ("inputs", "accepted", "refused", "failed")
    }
    content = {
        "command": f"python -m pytest -m fuzz --fuzz-inputs {fuzzing.inputs} --fuzz-seconds 0 "
        f"--fuzz-seed {fuzzing.seed} --fuzz-json {path}",
        "versions": versions(),
        "seed": fuzzing.seed,
        "commands": commands,
        "total": total,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def pytest_terminal_summary(terminalreporter, config):
    fuzzing = config.stash.get(KEY, None)
    if fuzzing is None:
        return
    terminalreporter.section("fuzzed")
    for command, counts in fuzzing.counts.items():
        if counts["inputs"]:
            shown = "  ".join(f"{kind} {number:>5}" for kind, number in counts.items())
            terminalreporter.write_line(f"{command:<10} {shown}")
    for problem in fuzzing.told:
        terminalreporter.write_line(problem)
