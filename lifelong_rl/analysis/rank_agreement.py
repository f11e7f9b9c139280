"""Whether a track ranks methods as other benchmarks do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl.analysis.crossed import Score
from lifelong_rl.analysis.leaderboard import make_entries
from lifelong_rl.analysis.rows import Row
from lifelong_rl.analysis.statistics import percentile_interval, rank_correlation
from lifelong_rl.storage.json_file import Name, Shape, read_json

FEWEST = 3
"""Methods that a rank correlation is told of."""
PUBLISHED: Shape = {
    "tables": {
        str: {"title": Name, "source": Name, "read": Name, "average_performance": {str: float}}
    },
    "coarse_order": [[Name]],
}
"""Shape of the file of published tables."""
NOTHING = "–"

Table = Mapping[str, Score]
"""Average performance by method."""


@dataclass(frozen=True)
class Agreement:
    """How alike two tables rank the methods that they share.

    Attributes:
        methods: Those.
        tau: Kendall's tau-b; NaN where one of them ranks all alike.
        interval: Its 95 % interval under resampling of what was run here; None where nothing that
            was run here has enough seeds.
        without_one: The lowest and the highest tau where one of the methods is left out.
    """

    methods: tuple[str, ...]
    tau: float
    interval: tuple[float, float] | None
    without_one: tuple[float, float] | None


def read_published(path: Path) -> tuple[dict[str, dict[str, Any]], list[list[str]]]:
    """The published tables by name, and the coarse order of methods, best first.

    Raises:
        UserError: The file cannot be read.
    """
    content = read_json(path, PUBLISHED)
    return content["tables"], content["coarse_order"]


def table_of(rows: Sequence[Row], track: str) -> dict[str, Score]:
    """Average performance of methods at their defaults on a track."""
    own = [row for row in rows if row.track == track]
    return {
        entry.row.method: entry.average
        for entry in make_entries(own)
        if entry.row.options == "default"
    }


def published_table(values: Mapping[str, float]) -> dict[str, Score]:
    """The same of a table that tells means alone."""
    return {method: Score(value, None) for method, value in values.items()}


def agree(one: Table, other: Table) -> Agreement | None:
    """How alike two tables rank methods; None if they share fewer than `FEWEST`."""
    methods = tuple(sorted({*one} & {*other}))
    if len(methods) < FEWEST:
        return None
    values = [np.array([table[m].value for m in methods]) for table in (one, other)]
    interval = None
    scores = [table[method] for table in (one, other) for method in methods]
    counts = {len(score.samples) for score in scores if score.samples is not None}
    if counts:
        (reps,) = counts
        samples = [
            np.stack([_spread(table[m], reps) for m in methods], axis=-1) for table in (one, other)
        ]
        taus = rank_correlation(samples[0], samples[1])[1]
        low, high = percentile_interval(taus[~np.isnan(taus)])
        interval = float(low), float(high)
    fewer = [
        _tau(*(np.delete(found, k) for found in values))
        for k in range(len(methods))
        if len(methods) > FEWEST
    ]
    ends = (min(fewer), max(fewer)) if fewer else None
    return Agreement(methods, _tau(*values), interval, ends)


def _tau(x: np.ndarray, y: np.ndarray) -> float:
    return float(rank_correlation(x, y)[1])


def _spread(score: Score, reps: int) -> np.ndarray:
    """The resamples of a score, or its value where there are none."""
    return np.full(reps, score.value) if score.samples is None else score.samples


def check_order(
    table: Table, order: Sequence[Sequence[str]]
) -> Iterator[tuple[str, str, Score, str]]:
    """Each pair of methods of two groups of an order, and whether the table has it so.

    Args:
        table: Average performance by method.
        order: Groups of methods, best first; within a group nothing is said.

    Yields:
        The method that is to be better, the other, the difference, and "in order" or "against it"
        where the interval of the difference says so, else "open".
    """
    for better, worse in combinations(order, 2):
        for one in better:
            for other in worse:
                if one in table and other in table:
                    difference = table[one] - table[other]
                    yield one, other, difference, _judge(difference)


def _judge(difference: Score) -> str:
    if difference.interval is None:
        return "open"
    low, high = difference.interval
    return "in order" if low > 0 else "against it" if high < 0 else "open"


def write_agreement(
    rows: Sequence[Row],
    published: Mapping[str, Mapping[str, Any]],
    order: Sequence[Sequence[str]],
) -> str:
    """The page.

    Args:
        rows: Of a protocol.
        published: Tables of others, see `read_published`.
        order: The coarse order of methods.
    """
    tables = {"arm10-sac": table_of(rows, "arm10-sac"), "cw5-sac": table_of(rows, "cw5-sac")}
    titles = {"arm10-sac": "`arm10-sac`", "cw5-sac": "`cw5-sac`, run here"}
    for name, told in published.items():
        tables[name] = published_table(told["average_performance"])
        titles[name] = told["title"]
    parts = [
        "# Do quick tasks rank methods as slow ones do?",
        "",
        "Average performance on `arm10-sac` of the [leaderboard](leaderboard.md), at defaults, "
        "against `cw5-sac` run here and against published tables: Kendall's τ over the methods "
        "that two tables share. Intervals resample seeds and starts of what was run here with "
        "three seeds or more, and take other means as they are. Of so few methods each one "
        "matters: the last column has the lowest and highest τ where one is left out. Made by "
        "`make leaderboard`.",
        "",
        "| table | against | methods | τ | 95 % interval | one left out |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for one, other in combinations(tables, 2):
        found = agree(tables[one], tables[other])
        if found is None:
            if one == "arm10-sac":
                shared = len({*tables[one]} & {*tables[other]})
                parts.append(f"| {titles[one]} | {titles[other]} | {shared} | too few | – | – |")
            continue
        parts.append(
            f"| {titles[one]} | {titles[other]} | {len(found.methods)} | {_number(found.tau)} "
            f"| {_ends(found.interval)} | {_ends(found.without_one, ' to ')} |"
        )
    spoken = " > ".join(f"{{{', '.join(f'`{m}`' for m in group)}}}" for group in order)
    parts += ["", "## The coarse order", "", f"{spoken}, as the published tables have it.", ""]
    pairs = list(check_order(tables["arm10-sac"], order))
    if pairs:
        verdicts = [verdict for *_, verdict in pairs]
        counted = ", ".join(f"{verdicts.count(v)} {v}" for v in ("in order", "open", "against it"))
        parts += [
            f"On `arm10-sac`, of {len(pairs)} pairs from two groups: {counted}.",
            "",
            "| better | worse | difference | |",
            "|---|---|--:|---|",
        ]
        for one, other, apart, verdict in pairs:
            difference = f"{_number(apart.value, '+')} {_ends(apart.interval, sign='+')}"
            parts.append(f"| `{one}` | `{other}` | {difference} | {verdict} |")
    else:
        parts.append("There are no rows of `arm10-sac` yet that could show it.")
    parts += ["", "## Published tables", ""]
    parts += [
        f"- {told['title']}: {told['source']}; read {told['read']}." for told in published.values()
    ]
    return "\n".join(parts) + "\n"


def _number(value: float, sign: str = "") -> str:
    """A number whose last digit does not depend on the order in which a processor adds."""
    return f"{round(value, 9) + 0.0:{sign}.2f}"


def _ends(ends: tuple[float, float] | None, between: str = ", ", sign: str = "") -> str:
    if ends is None:
        return NOTHING
    told = between.join(_number(end, sign) for end in ends)
    return f"[{told}]" if between == ", " else told
