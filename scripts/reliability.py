"""Try faults by the hundred, and make the page of what held.

    python scripts/reliability.py --json docs/results/faults.json

Runs are killed, their disk is full, their files are damaged, signals come, readers go away and
processes race; after each fault a run goes on and is compared, bit for bit, with one that met none.
The functions are those of `tests/faults`, which try a few of each. Every number on the page
docs/reliability.md is from the file that is written here, and from that of the fuzzer.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import json
import os
import random
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lifelong_rl.storage.atomic import write_file, write_json
from lifelong_rl.storage.versions import versions

ROOT = Path(__file__).resolve().parents[1]
DATA, FUZZ = Path("docs/results/faults.json"), Path("docs/results/fuzz.json")
PAGE = Path("docs/reliability.md")
SECTIONS = {
    "kills": "`kill -9`",
    "disk": "disk faults",
    "bit flips": "bit flips",
    "damaged KiB": "damaged KiB",
    "signals": "signals",
    "closed pipes": "closed pipes",
    "races": "races of two processes",
}
"""Sections of the counts, and what they are called on the page."""
PHASES = ("start", "learning", "evaluation", "writing")
"""What a run was doing when it was killed, in the order of the page."""
SHARES = {"toy": 1.0, "classifier": 0.06, "sac": 0.06}
"""How many of the faults each subject meets, of those at scale 1."""

Counts = dict[str, dict[str, int]]


class Tally:
    """What became of the faults of each section.

    Attributes:
        sections: Counts by section and kind: "tried", "failed", and others.
        failures: One entry for each fault that something was wrong after.
    """

    def __init__(self) -> None:
        self.sections: dict[str, Counts] = {section: {} for section in SECTIONS}
        self.failures: list[dict[str, Any]] = []

    def add(self, section: str, kind: str, outcome: Any, became: str = "") -> None:
        """Count one outcome; one that did not happen counts only if something is wrong."""
        counts = self.sections[section].setdefault(kind, {"tried": 0, "failed": 0})
        counts["tried"] += outcome.happened
        if became and outcome.happened:
            counts[became] = counts.get(became, 0) + 1
        if outcome.problems:
            counts["failed"] += 1
            self.failures.append(
                {
                    "section": section,
                    "kind": kind,
                    "where": outcome.where,
                    "problems": outcome.problems,
                }
            )
            print(f"FAILED {self.failures[-1]}", flush=True)

    @property
    def total(self) -> dict[str, dict[str, int]]:
        """Tried and failed of each section."""
        return {
            section: {key: sum(kind[key] for kind in kinds.values()) for key in ("tried", "failed")}
            for section, kinds in self.sections.items()
        }


def spread(count: int, stop: int) -> list[int]:
    """At most so many whole numbers from 1 to `stop`, evenly spaced."""
    count = min(max(count, 1), stop)
    return sorted({1 + round(k * (stop - 1) / max(count - 1, 1)) for k in range(count)})


def try_subject(name: str, folder: Path, scale: float, seed: int, tally: Tally) -> None:
    """Let one subject meet its share of all faults but damage."""
    import campaigns
    import subjects

    choose = random.Random(f"{seed} {name}")
    reference = subjects.make_reference(subjects.SUBJECTS[name], folder)
    events = campaigns.count_events(reference)
    share = scale * SHARES[name]

    def several(number: float) -> range:
        return range(max(1, round(number * share)))

    def report(section: str) -> None:
        print(f"{name}: {section} {tally.total[section]}", flush=True)

    for _ in several(80):
        for outcome in campaigns.kill_at_moments(reference, choose, kills=3):
            tally.add("kills", outcome.kind, outcome)
    for number in spread(len(several(len(events))), len(events)):
        outcome = campaigns.kill_at_event(reference, number)
        tally.add("kills", outcome.kind, outcome)
        if events[number - 1] == "write":
            outcome = campaigns.kill_at_event(reference, number, torn=True)
            tally.add("kills", outcome.kind, outcome)
    report("kills")
    ways = itertools.cycle(((errno.ENOSPC, True), (errno.EIO, False), (errno.ENOSPC, False)))
    for number in spread(len(several(len(events))), len(events)):
        code, forever = next(ways)
        torn = events[number - 1] == "write" and choose.random() < 0.5
        outcome = campaigns.refuse_event(reference, number, code, forever=forever, torn=torn)
        tally.add("disk", outcome.kind, outcome)
    largest = max(file.stat().st_size for file in reference.path.rglob("*") if file.is_file())
    for k in several(20):
        limit = round(largest * k / len(several(20)))
        outcome = campaigns.limit_size(reference, limit)
        tally.add("disk", outcome.kind, outcome)
    held = sum(file.stat().st_size for file in reference.path.rglob("*") if file.is_file())
    for k in several(20):
        filled = campaigns.full_disk(reference, 4 + round(held / 1024 * k / len(several(20))))
        if filled is not None:
            tally.add("disk", filled.kind, filled)
    report("disk")
    for _ in several(15):
        for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            outcome = campaigns.signal_at_moment(reference, choose, signal_number)
            tally.add("signals", outcome.kind, outcome)
    report("signals")
    for k in several(12):
        outcome = campaigns.close_output(reference, 40 * k)
        tally.add("closed pipes", "reader goes away", outcome)
    for resumed in (False, True):
        for _ in several(10):
            outcome = campaigns.race(reference, choose, resumed=resumed)
            tally.add("races", outcome.kind, outcome)
    report("races")


def try_damage(folder: Path, scale: float, seed: int, tally: Tally) -> None:
    """Flip bits and damage KiB of a file of every kind."""
    import damage
    import subjects

    choose = random.Random(f"{seed} damage")
    reference = subjects.make_reference(subjects.SUBJECTS["toy"], folder / "again")
    for kind, file in damage.make_kinds(reference, folder).items():
        size = file.path.stat().st_size
        for _ in range(max(1, round(50 * scale))):
            place = choose.randrange(8 * size)
            outcome = damage.damage(kind, file, damage.flip_bit(place), f"bit {place}")
            tally.add("bit flips", kind, outcome, outcome.kind)
        for kib in spread(max(1, round(20 * scale)), -(-size // damage.KIB)):
            for how in ("zeros", "noise", "cut off"):
                outcome = damage.damage(
                    kind, file, damage.spoil(kib - 1, how, choose), f"KiB {kib}, {how}"
                )
                tally.add("damaged KiB", kind, outcome, outcome.kind)
    print(f"damage: {tally.total['bit flips']} {tally.total['damaged KiB']}", flush=True)


def collect(scale: float, seed: int, names: Iterable[str], folder: Path) -> dict[str, Any]:
    """Try everything, and return the counts."""
    for library in ("OMP", "OPENBLAS", "MKL"):  # a process with threads cannot be forked
        os.environ[f"{library}_NUM_THREADS"] = "1"
    os.environ["LIFELONG_RL_CACHE"] = str(folder / "cache")
    sys.path += [str(ROOT / "tests" / name) for name in ("toy", "vision", "faults")]
    tally = Tally()
    for name in names:
        (folder / name).mkdir()
        try_subject(name, folder / name, scale, seed, tally)
    (folder / "damage" / "again").mkdir(parents=True)
    try_damage(folder / "damage", scale, seed, tally)
    return {
        "command": shlex.join(["python", "scripts/reliability.py", *sys.argv[1:]]),
        "seed": seed,
        "versions": versions(),
        "sections": tally.sections,
        "total": tally.total,
        "failures": tally.failures,
    }


def make_page(faults: Mapping[str, Any], fuzz: Mapping[str, Any] | None) -> str:
    """The page, with all its numbers from the counts."""
    rows = [
        [called, faults["total"][section]["tried"], faults["total"][section]["failed"]]
        for section, called in SECTIONS.items()
    ]
    if fuzz is not None:
        rows.append(["fuzzed inputs", fuzz["total"]["inputs"], fuzz["total"]["failed"]])
    commands = [faults["command"], *([fuzz["command"]] if fuzz is not None else [])]
    parts = [
        INTRODUCTION,
        "\n".join(_table(["", "tried", "failed"], rows)),
        "Made by\n\n" + "\n".join(f"    {command}" for command in commands),
        KILLS,
        "\n".join(_table(["killed", "tried", "failed"], _rows(faults, "kills", PHASES))),
        DISK,
        "\n".join(_table(["refused", "tried", "failed"], _rows(faults, "disk"))),
        DAMAGE,
        "\n".join(_damage_table(faults)),
        SIGNALS,
        "\n".join(
            _table(
                ["", "tried", "failed"],
                [
                    row
                    for section in ("signals", "closed pipes", "races")
                    for row in _rows(faults, section)
                ],
            )
        ),
    ]
    if fuzz is not None:
        fuzzed = [
            [f"`{name}`", *(counts[key] for key in ("inputs", "accepted", "refused", "failed"))]
            for name, counts in fuzz["commands"].items()
        ]
        header = ["", "inputs", "accepted", "refused", "failed"]
        parts += [FUZZED, "\n".join(_table(header, fuzzed))]
    made = ", ".join(f"{name} {version}" for name, version in faults["versions"].items())
    parts += [LIMITS, f"Versions: {made}."]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _rows(
    faults: Mapping[str, Any], section: str, order: Iterable[str] = ()
) -> Iterator[list[Any]]:
    kinds = faults["sections"][section]
    for kind in dict.fromkeys((*order, *kinds)):
        yield [kind, kinds[kind]["tried"], kinds[kind]["failed"]]


def _damage_table(faults: Mapping[str, Any]) -> Iterator[str]:
    ends = ("refused", "read as it was", "not noticed")
    rows = []
    for kind, flips in faults["sections"]["bit flips"].items():
        kib = faults["sections"]["damaged KiB"][kind]
        rows.append(
            [
                kind,
                flips["tried"],
                kib["tried"],
                *(flips.get(end, 0) + kib.get(end, 0) for end in ends),
                flips["failed"] + kib["failed"],
            ]
        )
    return _table(["", "bits", "KiB", *ends, "failed"], rows)


def _table(header: list[str], rows: Iterable[list[Any]]) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|---|" + "--:|" * (len(header) - 1)
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"


INTRODUCTION = """
# Reliability

Faults were tried on tiny runs, each beside a run that met none: three toy tasks with EWC, the
classifier on split digits with replay, and SAC on two tasks of the arm with A-GEM. After each fault
the run goes on, and has to end with the same results, the same lines in `metrics.jsonl`, the same
parameters in every checkpoint, no checkpoint lost on the way and no temporary file left.
"""
KILLS = """
## Killed

Runs, and those that had gone on, were killed from outside at random moments, and by themselves just
before every event of a file (open, write, fsync, rename, unlink, mkdir) or with half of a write
done. What a run was doing when it died:
"""
DISK = """
## A disk that refuses

One event of a file fails with EIO or ENOSPC, or all do from one on that need room, also with half
of a write done; no file may grow over a limit (`RLIMIT_FSIZE`); a real disk (tmpfs) is full.
The run says so in one line and ends with 1 or 2, or one event does not matter to it; what was
written before is whole. Where the disk stays full, `status.json` says "failed" and nothing
unfinished is left. Once there is room the run goes on.
"""
DAMAGE = """
## Damaged files

Random bits are flipped, and KiB overwritten with zeros or noise or cut off with all that follows.
Checkpoints, encoders, agents and data sets have checksums: they are refused in one line, or what is
read from them is what was written, because the bits say nothing. A data set in the cache is made
anew. Files that people read and write too have no checksum: what leaves a `results.json` in order
but for one digit is *not noticed*. Of `metrics.jsonl`, which a run only appends to, the last line
is read.
"""
SIGNALS = """
## Signals, readers that go away, two at once

Ctrl-C (SIGINT, exit code 130), SIGTERM (143), SIGHUP (129) and SIGUSR1 (138, a scheduler's warning
before its time limit), at random moments: the run says how to go on, and does. Counts from before
SIGUSR1 was tried at random moments too have no line for it; `tests/faults` sends it at set ones.
Output that nobody reads any more does not stop a run. Of two processes that run or resume in one
folder one does, and the other is told.
"""
FUZZED = """
## Fuzzed inputs

Random configurations, studies, run folders and files, through every command: it works, or says one
line and ends with 2.
"""
LIMITS = """
## What this does not show

A process that dies is not a machine that loses its power: what `fsync` promises is the file
system's word. Killing a run between two checkpoints loses the work since the last; none of its
numbers change. On what is safe to open from somebody else see [Security](security.md).
"""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--json", type=Path, default=DATA, help="file of the counts")
    parser.add_argument("--seed", type=int, default=0, help="decides the faults")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of faults")
    parser.add_argument("--subjects", nargs="+", choices=SHARES, default=[*SHARES])
    parser.add_argument("--page", action="store_true", help="only make the page anew")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Try, write the counts and the page; 1 if something was wrong after a fault."""
    given = parse(arguments)
    if not given.page:
        memory = Path("/dev/shm")
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            counts = collect(given.scale, given.seed, given.subjects, Path(folder))
        write_json(given.json, counts)
        print(json.dumps(counts["total"], indent=2))
    if given.json == DATA:
        fuzz = json.loads(FUZZ.read_text(encoding="utf-8")) if FUZZ.exists() else None
        faults = json.loads(DATA.read_text(encoding="utf-8"))
        write_file(PAGE, make_page(faults, fuzz).encode())
    return int(not given.page and bool(counts["failures"]))


if __name__ == "__main__":
    sys.exit(main())
