"""A comparison as tables of text, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lifelong_rl.text import format_table

CSV_HEADER = (
    "sequence",
    "order",
    "apart",
    "method",
    "regime",
    "runs",
    "score",
    "iqm",
    "iqm_low",
    "iqm_high",
    "mean",
    "mean_low",
    "mean_high",
)
LITTLE = "!"
"""Marks what was learned, and what is left of it, where it was little."""
STATISTIC_NAMES = {"iqm": "interquartile mean", "mean": "mean"}
LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "→": r"$\to$",
    "×": r"$\times$",
    "−": "$-$",
}
"""What LaTeX is to be told in place of a sign."""


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        name: For the name of a file.
        title: What it shows.
        header: Names of the columns.
        rows: As many texts each.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def as_csv(self) -> str:
        """The header and the rows, separated by commas."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()

    def as_latex(self) -> str:
        """A `tabular` with the rules of the package booktabs, the first two columns to the left."""
        columns = "ll" + "r" * (len(self.header) - 2)
        header, *rows = (
            "  " + " & ".join(map(_escape_latex, cells)) + r" \\"
            for cells in (self.header, *self.rows)
        )
        lines = [
            f"% {self.title}",
            rf"\begin{{tabular}}{{{columns[: len(self.header)]}}}",
            r"  \toprule",
            header,
            r"  \midrule",
            *rows,
            r"  \bottomrule",
            r"\end{tabular}",
        ]
        return "\n".join(lines) + "\n"


def make_tables(section: Mapping[str, Any], statistic: str = "iqm") -> list[Table]:
    """The tables of a section that have rows: performance, cost, gaps, rank correlations.

    Args:
        section: Of a comparison.
        statistic: One of `STATISTIC_NAMES`.
    """
    transfer = choose_transfer(section)
    tables = [
        Table(
            "scores",
            f"{STATISTIC_NAMES[statistic]} over runs and tasks [95 % interval]",
            ("method", "regime", "runs", "learned", "average", "forgetting", "retention"),
            tuple(_performance_row(group, statistic) for group in section["groups"]),
        ),
        Table(
            "cost",
            "transfer and cost",
            ("method", "regime", "transfer", "update time", "more parameters", "memory", "s/task"),
            tuple(_cost_row(group, transfer, statistic) for group in section["groups"]),
        ),
        Table(
            "gaps",
            "gap, second regime less first (retention: tasks both learned; P: second forgets more)",
            ("method", "gap", "learned", "forgetting", "retention", "P(more)"),
            tuple(_gap_row(gap, statistic) for gap in section["gaps"]),
        ),
        Table(
            "rank-correlations",
            "do two regimes rank the methods alike?",
            ("by", "regimes", "methods", "Spearman", "Kendall"),
            tuple(_rank_row(found) for found in section["rank_correlations"]),
        ),
    ]
    return [table for table in tables if table.rows]


def make_report_tables(section: Mapping[str, Any]) -> list[Table]:
    """The tables of a section of a report: those of its comparison, the matrices, every run."""
    return [
        *make_tables(section, section["statistic"]),
        *(_tabulate_matrix(section, group) for group in section["groups"]),
        tabulate_runs(section),
    ]


def tabulate_runs(section: Mapping[str, Any]) -> Table:
    """Each run of a section of a report with the metrics that its `results.json` holds."""
    names = {
        "learned": "learned_performance",
        "average": "average_performance",
        "forgetting": "forgetting",
        "backward": "backward_transfer",
        "forward": "forward_transfer",
        "retention": "retention",
    }
    return Table(
        "runs",
        "every run, means over tasks",
        ("method", "regime", "seed", *names, "learning, s"),
        tuple(
            (
                group["method_label"],
                group["agent_label"],
                str(run["seed"]),
                *(
                    "-" if run["metrics"][name] is None else f"{run['metrics'][name]:.3f}"
                    for name in names.values()
                ),
                f"{run['learn_seconds']:.0f}",
            )
            for group in section["groups"]
            for run in group["runs_by_seed"]
        ),
    )


def _tabulate_matrix(section: Mapping[str, Any], group: Mapping[str, Any]) -> Table:
    name = f"{group['method_label']} with {group['agent_label']}"
    matrix, measure = group["matrix"], section.get("measure", "success")
    return Table(
        f"matrix-{name}",
        f"{name}: {measure} on each task (row) before learning, and after learning each (column)",
        ("", "task", "before", *map(str, range(1, len(matrix)))),
        tuple(
            (str(j + 1), task, *(format_number(row[j]) for row in matrix))
            for j, task in enumerate(section["tasks"])
        ),
    )


def choose_transfer(section: Mapping[str, Any]) -> str:
    """The measure of transfer that all groups have: of areas if possible, or else GEM's."""
    if all("forward_transfer_auc" in group["scores"] for group in section["groups"]):
        return "forward_transfer_auc"
    return "forward_transfer"


def name_section(section: Mapping[str, Any]) -> str:
    """Such as "arm3" or "arm10 in order 5, steps_per_task 1000"."""
    order, apart = section["order"], section.get("apart", "")  # older files have none
    name = str(section["sequence"]) + ("" if order is None else f" in order {order}")
    return f"{name}, {apart}" if apart else name


def describe_section(section: Mapping[str, Any]) -> list[str]:
    """What was learned, with which budget, and what the regimes are: a line each."""
    budget = section["budget"]
    measure = section.get("measure", "success")  # older files have none
    labels = budget.get("labels", "all")  # so have they
    return [
        f"tasks: {', '.join(section['tasks'])}"
        + ("" if measure == "success" else f"; what is measured is their {measure}"),
        f"budget: {_plain(budget['steps_per_task'])} steps a task in "
        f"{_plain(budget['num_envs'])} environments, {_plain(budget['eval_episodes'])} evaluation "
        f"episodes; {'' if labels == 'all' else f'labels {_plain(labels)}; '}"
        f"MuJoCo {_plain(section['mujoco'])}",
        *(
            f"{regime['name']}" + (f" ({regime['description']})" if regime["description"] else "")
            for regime in section["regimes"]
        ),
    ]


def format_comparison(comparison: Mapping[str, Any]) -> str:
    """The tables of a comparison as text."""
    lines = []
    for section in comparison["sections"]:
        lines += [name_section(section), *(f"  {line}" for line in describe_section(section)), ""]
        lines += [f"note: {note}" for note in section["notes"]] + [""] * bool(section["notes"])
        for table in make_tables(section):
            lines += [table.title + ":", format_table(table.header, table.rows), ""]
    lines += [f"note: {note}" for note in comparison["settings"]["notes"]]
    left_out = [f"left out: {one['path']}: {one['reason']}" for one in comparison["left_out"]]
    return "\n".join(lines + left_out).rstrip()


def format_csv(comparison: Mapping[str, Any]) -> str:
    """One line for each score of each group and gap; of costs that are counted only the mean."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for section in comparison["sections"]:
        for row in _csv_rows(section):
            writer.writerow([section["sequence"], section["order"], section["apart"], *row])
    return text.getvalue()


def format_interval(estimate: Mapping[str, Any] | None) -> str:
    """Such as "0.53 [0.45, 0.58]"; "0.53" without an interval; "-" without a value."""
    if estimate is None:
        return "-"
    value = format_number(estimate["value"])
    if estimate["low"] is None:
        return value
    return f"{value} [{format_number(estimate['low'])}, {format_number(estimate['high'])}]"


def format_number(value: float) -> str:
    """Two decimals, and never -0.00."""
    return f"{round(value, 2) + 0.0:.2f}"


def _performance_row(group: Mapping[str, Any], statistic: str) -> tuple[str, ...]:
    return (
        group["method_label"],
        group["agent_label"],
        str(len(group["runs"])),
        format_number(group["scores"]["learned_performance"][statistic]["value"])
        + LITTLE * group["learned_little"],
        *(_interval(group, name, statistic) for name in ("average_performance", "forgetting")),
        _interval(group, "retention", statistic)
        + LITTLE * (group["learned_little"] and "retention" in group["scores"]),
    )


def _cost_row(group: Mapping[str, Any], transfer: str, statistic: str) -> tuple[str, ...]:
    cost = group["cost"]
    return (
        group["method_label"],
        group["agent_label"],
        _interval(group, transfer, statistic),
        "× " + _interval(group, "update_ratio", statistic)
        if "update_ratio" in group["scores"]
        else "-",
        "-" if cost["extra_parameters"] is None else f"{cost['extra_parameters']:.0f}",
        format_bytes(cost["memory_bytes"]),
        f"{group['scores']['learn_seconds']['mean']['value']:.0f}",
    )


def _gap_row(gap: Mapping[str, Any], statistic: str) -> tuple[str, ...]:
    probability = gap["probability_of_more_forgetting"]
    return (
        gap["method_label"],
        f"{gap['from']} → {gap['to']}",
        format_number(gap["scores"]["learned_performance"][statistic]["value"]),
        *(_interval(gap, name, statistic) for name in ("forgetting", "retention")),
        "-" if probability is None else format_number(probability),
    )


def _rank_row(found: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        found["score"].replace("_", " "),
        f"{found['from']}, {found['to']}",
        str(len(found["methods"])),
        format_interval(found["spearman"]),
        format_interval(found["kendall"]),
    )


def _csv_rows(section: Mapping[str, Any]) -> Iterator[list[Any]]:
    for group in section["groups"]:
        head = [group["method_label"], group["agent_label"], len(group["runs"])]
        for name, found in group["scores"].items():
            yield [*head, name, *_csv_estimates(found)]
        for name, value in group["cost"].items():
            yield [*head, name, "", "", "", value, "", ""]
    for gap in section["gaps"]:
        head = [gap["method_label"], f"{gap['to']} - {gap['from']}", sum(gap["runs"])]
        for name, found in gap["scores"].items():
            yield [*head, name, *_csv_estimates(found)]


def _csv_estimates(found: Mapping[str, Any]) -> list[float | None]:
    return [found[s][end] for s in ("iqm", "mean") for end in ("value", "low", "high")]


def _interval(one: Mapping[str, Any], score: str, statistic: str) -> str:
    return format_interval(one["scores"].get(score, {}).get(statistic))


def _escape_latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in text)


def format_bytes(count: float) -> str:
    """Such as "7.7 MB"; "-" for none."""
    return f"{count / 1e6:.1f} MB" if count else "-"


def _plain(value: object) -> str:
    """A value, or those that were mixed."""
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)
