"""What a section of a report says, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lifelong_rl.analysis.groups import METHODS_LAST
from lifelong_rl.analysis.tables import format_bytes, format_interval, format_number, name_section

NOTHING = 0.005
"""Less than this is shown as 0.00."""
NAMED = 6
"""Of so many methods at most the names are told."""


def describe_findings(section: Mapping[str, Any]) -> list[str]:
    """Sentences about a section: what was run, learned, kept and forgotten, and at what cost.

    They tell what the numbers are, and where intervals overlap that they tell nothing apart.
    """
    groups = section["groups"]
    if len(groups) == 1:
        return [*_one_group(section, groups[0])]
    sentences = [_what_was_run(section), *_little(groups, len(section["tasks"]))]
    for regime in section["regimes"]:
        own = [group for group in groups if group["agent_label"] == regime["label"]]
        sentences += _ranking(own, section["statistic"], regime["name"], _measure(section))
    sentences += _gaps(section)
    sentences += _cost(groups, section["statistic"])
    return sentences


def _one_group(section: Mapping[str, Any], group: Mapping[str, Any]) -> Iterator[str]:
    statistic, count = section["statistic"], len(section["tasks"])
    seeds = _count(len(group["runs"]), "seed")
    learned, average, forgotten = (
        _told(group, name, statistic)
        for name in ("learned_performance", "average_performance", "forgetting")
    )
    yield from _little([group], len(section["tasks"]))
    yield (
        f"{group['agent_label']} with {group['method_label']} learned the {_count(count, 'task')} "
        f"of {name_section(section)} one after another ({seeds}): {_measure(section)} is "
        f"{learned} right "
        f"after learning a task, and {average} on all tasks at the end."
    )
    if count > 1:
        by_task = group["scores_by_task"]["forgetting"]
        worst = max(by_task, key=lambda task: by_task[task] or 0.0)
        if (by_task[worst] or 0.0) < NOTHING:
            yield "Nothing was forgotten."
        else:
            then, last = (
                format_number(group["scores_by_task"][name][worst])
                for name in ("learned_performance", "average_performance")
            )
            yield f"Forgetting is {forgotten}, most of it of {worst}: from {then} to {last}."
        transfer = group["scores"].get("forward_transfer")
        if transfer is not None:
            yield (
                f"Forward transfer is {format_interval(transfer[statistic])}: "
                f"{_measure(section)} on a task "
                "just before it is learned, less that before any training."
            )
    yield from _cost([group], statistic)


def _measure(section: Mapping[str, Any]) -> str:
    """What is measured on the tasks; older files do not say, and measure success."""
    return str(section.get("measure", "success"))


def _little(groups: Sequence[Mapping[str, Any]], count: int) -> Iterator[str]:
    """Where little was learned: forgetting tells nothing of that."""
    little = [
        f"{group['agent_label']} with {group['method_label']} "
        f"({_learned(group['learned_share'] * count)} of {_count(count, 'task')})"
        for group in groups
        if group["learned_little"]
    ]
    if little:
        yield f"Little was learned by {_names(little)}, so there was little to forget."


def _learned(tasks: float) -> str:
    """A number of tasks, mean over runs: "1" or "1.3"."""
    return f"{round(tasks, 1):g}"


def _what_was_run(section: Mapping[str, Any]) -> str:
    groups = section["groups"]
    runs = [len(group["runs"]) for group in groups]
    methods = len({group["method_label"] for group in groups})
    agents = ", ".join(regime["label"] for regime in section["regimes"])
    seeds = (
        f"{min(runs)} to {max(runs)} seeds" if min(runs) < max(runs) else _count(runs[0], "seed")
    )
    return (
        f"{sum(runs)} runs on {_count(len(section['tasks']), 'task')}: "
        f"{_count(methods, 'method')} with {agents}, {seeds} each."
    )


def _ranking(
    groups: Sequence[Mapping[str, Any]], statistic: str, regime: str, measure: str
) -> Iterator[str]:
    """Who is best at the end, and who forgets most; references are not ranked."""
    ranked = [group for group in groups if group["method"] not in METHODS_LAST]
    if not ranked:
        return
    if len(ranked) == 1:
        yield (
            f"{regime}, {ranked[0]['method_label']}: {measure} at the end is "
            f"{_told(ranked[0], 'average_performance', statistic)}, forgetting "
            f"{_told(ranked[0], 'forgetting', statistic)}."
        )
        return
    by_average = sorted(ranked, key=lambda g: -_value(g, "average_performance", statistic))
    best, worst = by_average[0], by_average[-1]
    yield (
        f"{regime}: {measure} at the end is highest with {best['method_label']}, "
        f"{_told(best, 'average_performance', statistic)}, and lowest with "
        f"{worst['method_label']}, {_told(worst, 'average_performance', statistic)}; "
        + _most_forgotten(ranked, statistic)
    )
    alike = [
        group["method_label"]
        for group in by_average[1:]
        if _overlap(best, group, "average_performance", statistic)
    ]
    if len(alike) == len(ranked) - 1:
        yield f"{regime}: these runs do not tell the methods apart."
    elif alike:
        yield f"{regime}: these runs do not tell {best['method_label']} apart from {_names(alike)}."


def _most_forgotten(groups: Sequence[Mapping[str, Any]], statistic: str) -> str:
    most = max(groups, key=lambda group: _value(group, "forgetting", statistic))
    if _value(most, "forgetting", statistic) < NOTHING:
        return "nothing was forgotten."
    nothing = [g["method_label"] for g in groups if _value(g, "forgetting", statistic) < NOTHING]
    told = f"most is forgotten with {most['method_label']}, {_told(most, 'forgetting', statistic)}"
    return told + (f", nothing with {_names(nothing)}." if nothing else ".")


def _gaps(section: Mapping[str, Any]) -> Iterator[str]:
    """What differs with the same method from one rung of the ladder to the next, and in all."""
    labels = [regime["label"] for regime in section["regimes"]]
    pairs = [*pairwise(labels), *([(labels[0], labels[-1])] if len(labels) > 2 else [])]
    for pair in pairs:
        told: dict[str, list[str]] = {}
        for gap in section["gaps"]:
            found = gap["scores"]["forgetting"][section["statistic"]]
            if (gap["from"], gap["to"]) == pair and gap["method"] not in METHODS_LAST:
                name = f"{gap['method_label']} ({format_interval(found)})"
                told.setdefault(_direction(found), []).append(name)
        for direction, names in told.items():
            yield f"{pair[1]} forgets {direction} than {pair[0]} with {', '.join(names)}."


def _direction(gap: Mapping[str, Any]) -> str:
    """Of a difference with its interval, in words that come before "than"."""
    if gap["low"] is None:
        return "more (without an interval)" if gap["value"] > 0 else "no more (without an interval)"
    if gap["low"] > 0.0:
        return "more"
    return "less" if gap["high"] < 0.0 else "neither clearly more nor clearly less"


def _cost(groups: Sequence[Mapping[str, Any]], statistic: str) -> Iterator[str]:
    timed = [group for group in groups if "update_ratio" in group["scores"]]
    parts = []
    if timed:
        slowest = max(timed, key=lambda group: _value(group, "update_ratio", statistic))
        ratio = format_number(_value(slowest, "update_ratio", statistic))
        whose = "" if len(groups) == 1 else f" at most, with {slowest['method_label']},"
        parts.append(f"an update takes{whose} {ratio} times as long as one of plain fine-tuning")
    largest = max(groups, key=lambda group: group["cost"]["memory_bytes"])
    if largest["cost"]["memory_bytes"]:
        size = format_bytes(largest["cost"]["memory_bytes"])
        whose = "" if len(groups) == 1 else f" at most, by {largest['method_label']}"
        parts.append(f"{size} of old tasks are kept{whose}")
    if parts:
        text = "; ".join(parts)
        yield text[0].upper() + text[1:] + "."


def _value(group: Mapping[str, Any], score: str, statistic: str) -> float:
    return float(group["scores"][score][statistic]["value"])


def _told(group: Mapping[str, Any], score: str, statistic: str) -> str:
    return format_interval(group["scores"][score][statistic])


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any], score: str, statistic: str) -> bool:
    """Whether two intervals have a number in common, or one of them is not known."""
    a, b = (group["scores"][score][statistic] for group in (one, other))
    if a["low"] is None or b["low"] is None:
        return True
    return bool(a["low"] <= b["high"] and b["low"] <= a["high"])


def _names(names: Sequence[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)
