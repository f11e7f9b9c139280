"""The leaderboard: rows of a protocol, track by track, as a page of Markdown.

The page is a function of the rows alone, to the byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lifelong_rl.analysis.crossed import Draws, Score, transfer, variance_of_starts
from lifelong_rl.analysis.rows import Row, default_options
from lifelong_rl.analysis.significance import detectable_difference, holm, welch
from lifelong_rl.runs.protocol import Protocol
from lifelong_rl.text import format_size

CONTROL, ALONE = "finetune", "single-task"
"""What all are set against, and what forward transfer is measured against."""
REFERENCES = (ALONE, "joint")
"""Methods that are no answers, and have no rank."""
LEVEL = 0.05
SEEDS_TOLD = 5
"""Seeds of which is said what they can tell apart."""
NOTHING = "–"


@dataclass(frozen=True, eq=False)
class Entry:
    """What a row comes to.

    Attributes:
        row: The row.
        final: Success in the last row of the matrix, (runs, tasks, episodes).
        average: Average performance.
        learned: Learned performance.
        forgetting: As Continual World defines it.
        transfer: Forward transfer; None where the track has no tasks learned alone.
        difference: Of the average performance from that of fine-tuning; None without it.
        p: Of that difference, not corrected; None with too few runs, or of a reference.
    """

    row: Row
    final: np.ndarray
    average: Score
    learned: Score
    forgetting: Score
    transfer: Score | None = None
    difference: Score | None = None
    p: float | None = None

    @property
    def cpu_seconds(self) -> float:
        """Mean over the runs."""
        return float(np.mean([run.cpu_seconds for run in self.row.runs]))


def make_entries(rows: Sequence[Row]) -> list[Entry]:
    """What the rows of one track come to, those with the highest average performance first."""
    alone = _find(rows, ALONE)
    entries = []
    control: Entry | None = None
    ordered = sorted(rows, key=lambda row: (row.name != f"{row.track}-{CONTROL}", row.name))
    for row in ordered:
        entry = _measure(row, alone)
        if row.method == CONTROL:
            control = entry
        elif control is not None:
            entry = _compare(entry, control)
        entries.append(entry)
    return sorted(entries, key=lambda entry: (-round(entry.average.value, 9), entry.row.name))


def _find(rows: Sequence[Row], method: str) -> Row | None:
    return next((row for row in rows if row.method == method and row.options == "default"), None)


def _measure(row: Row, alone: Row | None) -> Entry:
    outcomes = row.outcomes
    tasks = np.arange(len(row.tasks))
    final, learned = outcomes[:, -1], outcomes[:, tasks + 1, tasks]
    draws = Draws(row.name, final.shape)
    found = None
    if alone is not None and row.method not in REFERENCES and (_areas(alone) < 1).all():
        of_alone = Draws(alone.name, (len(alone.runs), *final.shape[1:]))
        found = transfer(_areas(row), draws, _areas(alone), of_alone)
    return Entry(
        row,
        final,
        draws.score(final),
        draws.score(learned),
        draws.score(learned.astype(float) - final),
        found,
    )


def _areas(row: Row) -> np.ndarray:
    return np.array([run.curve_areas for run in row.runs])


def _compare(entry: Entry, control: Entry) -> Entry:
    difference = entry.average - control.average
    p = None
    if entry.row.method not in REFERENCES:
        variances = [
            (float(one.final.mean(axis=(1, 2)).var(ddof=1)), len(one.row.runs))
            for one in (entry, control)
        ]
        p = welch(difference.value, variances, variance_of_starts(entry.final, control.final))
    return Entry(
        entry.row,
        entry.final,
        entry.average,
        entry.learned,
        entry.forgetting,
        entry.transfer,
        difference,
        p,
    )


def correct(entries: Sequence[Entry]) -> dict[str, float]:
    """The p of each difference to fine-tuning, corrected for their number, by the row's name."""
    compared = [(entry.row.name, entry.p) for entry in entries if entry.p is not None]
    corrected = holm([p for _, p in compared])
    return {name: p for (name, _), p in zip(compared, corrected, strict=True)}


def describe_power(entries: Sequence[Entry]) -> str | None:
    """What so many seeds can tell apart, in a sentence; None if no row has two seeds."""
    runs = [e.final.mean(axis=(1, 2)) for e in entries if e.row.method not in REFERENCES]
    freedom = sum(len(found) - 1 for found in runs)
    if not freedom:
        return None
    spread = math.sqrt(sum(((found - found.mean()) ** 2).sum() for found in runs) / freedom)
    alone = detectable_difference(spread, SEEDS_TOLD, freedom)
    compared = max(len(correct(entries)), 1)
    corrected = detectable_difference(spread, SEEDS_TOLD, freedom, LEVEL / compared)
    return (
        f"**What {SEEDS_TOLD} seeds can tell apart.** Over seeds, average performance has a "
        f"standard deviation of {_number(spread, 3)}, pooled over the methods of this track. So "
        f"with {SEEDS_TOLD} seeds on each side a single difference of {_number(alone)} is found "
        f"with a probability of 0.8, and one of {_number(corrected)} where it has the smallest p "
        f"of {compared} that are corrected for. Smaller ones may be there and not be found."
    )


def write_board(rows: Sequence[Row], protocol: Protocol) -> str:
    """The page.

    Args:
        rows: Of the protocol; each follows it.
        protocol: Whose tracks are told.
    """
    tracks = [track.name for track in protocol.tracks.values() if track.purpose == "reported"]
    parts = [
        "# Leaderboard",
        "",
        "Made of the files in `docs/leaderboard` by `make leaderboard`, and of nothing else. How "
        f"runs are made, and what is fixed: [protocol {protocol.version}](protocol.md). How to add "
        "a row: [Add a row](submit.md).",
        "",
        "Means over seeds, tasks and episodes, with 95 % intervals of a bootstrap that draws seeds "
        "and starts. Methods are ranked by average performance at their defaults; where intervals "
        "overlap, the order is open. Forward transfer is Continual World's, against tasks learned "
        "alone. Differences to fine-tuning are tested by Welch's t with the noise of the starts "
        "that both share; p is corrected by Holm's method for all rows of a track, tuned ones "
        "included and references left out. CPU is the time computed while learning, over that of "
        "fine-tuning; memory is what a method keeps of old tasks.",
    ]
    for track in tracks:
        own = [row for row in rows if row.track == track]
        parts += ["", f"## {track}", ""]
        parts += _write_track(own, protocol) if own else ["There is no row yet."]
    return "\n".join(parts) + "\n"


def _write_track(rows: Sequence[Row], protocol: Protocol) -> list[str]:
    entries = make_entries(rows)
    corrected = correct(entries)
    control = next((e for e in entries if e.row.name == f"{e.row.track}-{CONTROL}"), None)
    lines = _write_ranks(entries, corrected, control)
    tuned = [entry for entry in entries if entry.row.options == "tuned"]
    untold = [e for e in entries if e.row.options == "default" and e.row.tuning is not None]
    if tuned or untold:
        lines += ["", *_write_tuned(tuned, entries, corrected, protocol)]
    if untold:
        names = ", ".join(sorted(entry.row.method for entry in untold))
        lines += ["", f"Tuned without finding better options than the defaults: {names}."]
    power = describe_power(entries)
    lines += ["", power] if power else []
    if control is None:
        lines += ["", "There is no row of fine-tuning yet, which all are set against."]
    lines += ["", *_write_origins(entries)]
    return lines


def _write_ranks(
    entries: Sequence[Entry], corrected: dict[str, float], control: Entry | None
) -> list[str]:
    lines = _head(
        "| rank | method | average performance | tuned | learned | forgetting | forward transfer "
        "| against fine-tuning | p | memory | parameters | CPU | seeds |",
        "rl",
    )
    tuned = {e.row.method: e for e in entries if e.row.options == "tuned"}
    rank, note = 0, ""
    plain = [e for e in entries if e.row.options == "default"]
    for entry in sorted(plain, key=lambda e: e.row.method in REFERENCES):
        row = entry.row
        rank += row.method not in REFERENCES
        other = tuned.get(row.method)
        memory = float(np.mean([run.memory_bytes for run in row.runs]))
        parameters = float(np.mean([run.parameters for run in row.runs]))
        dagger = ""
        if control is not None and {*row.processors} != {*control.row.processors}:
            dagger, note = "†", "† on other processors than fine-tuning"
        cells = [
            str(rank) if row.method not in REFERENCES else NOTHING,
            f"`{row.method}`",
            _score(entry.average),
            _score(other.average if other else None),
            _score(entry.learned),
            _score(entry.forgetting),
            _score(entry.transfer),
            _score(entry.difference, "+"),
            _p(corrected.get(row.name)),
            format_size(memory) if memory else NOTHING,
            f"{parameters:,.0f}".replace(",", " "),
            f"{_number(entry.cpu_seconds / control.cpu_seconds)}{dagger}" if control else NOTHING,
            str(len(row.runs)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    only = sorted({*tuned} - {entry.row.method for entry in plain})
    if only:
        lines += ["", f"At their defaults there is no row of {', '.join(only)}."]
    return [*lines, "", note] if note else lines


def _write_tuned(
    tuned: Sequence[Entry],
    entries: Sequence[Entry],
    corrected: dict[str, float],
    protocol: Protocol,
) -> list[str]:
    if not tuned:
        return []
    lines = _head(
        "| tuned | options | average performance | over its defaults | learned | forgetting "
        "| forward transfer | against fine-tuning | p | seeds |",
        "ll",
    )
    plain = {e.row.method: e for e in entries if e.row.options == "default"}
    for entry in tuned:
        row = entry.row
        before = plain.get(row.method)
        known = default_options(row.method, protocol)
        defaults = {} if known is None else known[0]
        found = [
            f"{name}={value}"
            for name, value in row.method_options.items()
            if name not in defaults or defaults[name] != value
        ]
        cells = [
            f"`{row.method}`",
            f"`{' '.join(found)}`",
            _score(entry.average),
            _score(entry.average - before.average if before else None, "+"),
            _score(entry.learned),
            _score(entry.forgetting),
            _score(entry.transfer),
            _score(entry.difference, "+"),
            _p(corrected.get(row.name)),
            str(len(row.runs)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _write_origins(entries: Sequence[Entry]) -> list[str]:
    """What each row was made with."""
    lines = _head("| row | seeds | CPU seconds a seed | commit | processors | torch |", "ll")
    for entry in sorted(entries, key=lambda e: e.row.name):
        row = entry.row
        cells = [
            f"`{row.name}`",
            f"{row.seeds[0]} to {row.seeds[-1]}",
            f"{entry.cpu_seconds:.0f}",
            f"`{row.commit[:12]}`",
            ", ".join(row.processors),
            str(row.versions.get("torch")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _head(names: str, left: str) -> list[str]:
    """The head of a table: the first columns as `left` says, the others to the right."""
    count = names.count("|") - 1
    sides = (left + "r" * count)[:count]
    return [names, "|" + "|".join("--:" if side == "r" else "---" for side in sides) + "|"]


def _score(score: Score | None, sign: str = "") -> str:
    if score is None:
        return NOTHING
    told = _number(score.value, sign=sign)
    if score.interval is None:
        return told
    low, high = score.interval
    return f"{told} [{_number(low, sign=sign)}, {_number(high, sign=sign)}]"


def _number(value: float, digits: int = 2, sign: str = "") -> str:
    """A number whose last digits do not depend on the order in which a processor adds."""
    rounded = round(round(value, 9), digits)
    return f"{rounded if rounded else 0.0:{sign}.{digits}f}"


def _p(p: float | None) -> str:
    if p is None:
        return NOTHING
    return "< 0.001" if round(p, 9) < 0.001 else _number(p, 3)
