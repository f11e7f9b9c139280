"""Puts the fuzzer's modules where tests find them, and counts what it has tried."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lifelong_rl.storage.versions import versions

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)


KINDS = ("inputs", "accepted", "refused", "failed")


@dataclass
class Fuzzing:
    """What was asked for, and what has been tried.

    Attributes:
        inputs: At most so many of each command.
        seconds: For all commands together; 0 for as long as it takes.
        seed: Decides the inputs.
        path: Where to write the counts; one failure of a command is no reason to stop then.
        counts: By command.
        told: Of the failures.
    """

    inputs: int
    seconds: float
    seed: int
    path: Path | None
    counts: dict[str, dict[str, int]]
    told: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Write the counts; those of commands that were not tried this time stay.

        So the table can be made in parts, with -k: the inputs of a command depend on nothing else.
        """
        if self.path is None:
            return
        commands = json.loads(self.path.read_text())["commands"] if self.path.exists() else {}
        commands |= {name: one for name, one in self.counts.items() if one["inputs"]}
        content = {
            "command": f"python -m pytest -m fuzz --fuzz-inputs {self.inputs} --fuzz-seconds 0 "
            f"--fuzz-seed {self.seed} --fuzz-json {self.path}",
            "versions": versions(),
            "seed": self.seed,
            "commands": commands,
            "total": {kind: sum(one[kind] for one in commands.values()) for kind in KINDS},
        }
        self.path.write_text(json.dumps(content, indent=2) + "\n")


KEY = pytest.StashKey[Fuzzing]()


@pytest.fixture(scope="session")
def fuzz(request):
    from inputs import COMMANDS

    option = request.config.getoption
    path = option("--fuzz-json")
    fuzzing = Fuzzing(
        option("--fuzz-inputs"),
        option("--fuzz-seconds"),
        option("--fuzz-seed"),
        None if path is None else Path(path),
        {command: dict.fromkeys(KINDS, 0) for command in COMMANDS},
    )
    request.config.stash[KEY] = fuzzing
    return fuzzing


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
