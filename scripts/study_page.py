"""Make the page of the first study: tables, figures, and what they say of published findings.

    lifelong-rl sweep studies/first_study.yaml
    python scripts/study_page.py --runs runs/first_study

Without --runs the page is made anew from the committed data alone. Nothing on it is written by
hand but the findings themselves and the rules by which the data support or contradict them.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifelong_rl.analysis.comparison import compare
from lifelong_rl.analysis.figures import draw
from lifelong_rl.analysis.files import write_drawings
from lifelong_rl.analysis.runs import find_runs
from lifelong_rl.analysis.tables import describe_section, format_interval, make_tables, name_section
from lifelong_rl.storage.atomic import write_json

DATA = Path("docs/results/first_study.json")
PAGE = Path("docs/study.md")
FIGURES = Path("docs/study")

SUPPORTED, CONTRADICTED, OPEN = "supported", "contradicted", "open"
REGULARISATION = ("l2", "ewc", "si")
PROJECTION = ("gem", "agem")
MEMORY_AND_EXPANSION = ("replay", "clone", "progressive", "packnet")

Verdict = tuple[str, str]
"""One of the three words, and the figures that it rests on."""


@dataclass(frozen=True)
class Finding:
    """A published finding and how it is judged.

    Attributes:
        claim: What was found, and by whom.
        rule: By which the data support or contradict it.
        judge: Applies the rule to the section of the arm's tasks.
    """

    claim: str
    rule: str
    judge: Callable[[Mapping[str, Any]], Verdict]


def score(section: Mapping[str, Any], method: str, agent: str, name: str) -> dict[str, Any] | None:
    """The interquartile mean of a score with its interval; None where there is none."""
    return _find(section["groups"], name, method=method, agent=agent)


def gap(section: Mapping[str, Any], method: str, name: str) -> dict[str, Any] | None:
    """Score of SAC less that of behaviour cloning, with its interval; None where there is none."""
    return _find(section["gaps"], name, method=method, **{"from": "bc", "to": "sac"})


def _find(entries: Iterable[Mapping[str, Any]], name: str, **wanted: str) -> dict[str, Any] | None:
    for entry in entries:
        if all(entry[key] == value for key, value in wanted.items()):
            found: dict[str, Any] | None = entry["scores"].get(name, {}).get("iqm")
            return found
    return None


def judge_bounds(
    found: Mapping[str, dict[str, Any] | None],
    supports: Callable[[dict[str, Any]], bool],
    contradicts: Callable[[dict[str, Any]], bool],
) -> Verdict:
    """Supported if all of them support, contradicted if any contradicts, open otherwise."""
    known = {name: one for name, one in found.items() if one is not None}
    figures = ", ".join(f"{name} {format_interval(one)}" for name, one in known.items())
    if not known or any(one["low"] is None for one in known.values()):
        return OPEN, figures or "no runs"
    if any(contradicts(one) for one in known.values()):
        against = [name for name, one in known.items() if contradicts(one)]
        return CONTRADICTED, f"{figures}; against it: {', '.join(against)}"
    if len(known) == len(found) and all(supports(one) for one in known.values()):
        return SUPPORTED, figures
    return OPEN, figures


def judge_finetuning(section: Mapping[str, Any]) -> Verdict:
    """Whether fine-tuning loses most of what it has learned."""
    return judge_bounds(
        {"retention of finetune": score(section, "finetune", "sac", "retention")},
        lambda one: one["high"] < 0.5,
        lambda one: one["low"] > 0.5,
    )


def judge_agem(section: Mapping[str, Any]) -> Verdict:
    """Whether A-GEM keeps no more than fine-tuning."""
    agem = score(section, "agem", "sac", "retention")
    plain = score(section, "finetune", "sac", "retention")
    figures = f"retention: agem {format_interval(agem)}, finetune {format_interval(plain)}"
    if agem is None or plain is None or agem["low"] is None or plain["low"] is None:
        return OPEN, figures
    if agem["low"] > plain["high"]:
        return CONTRADICTED, figures
    return (SUPPORTED if agem["high"] <= plain["high"] else OPEN), figures


def judge_isolation(section: Mapping[str, Any]) -> Verdict:
    """Whether separate parameters forget nothing."""
    return judge_bounds(
        {m: score(section, m, "sac", "forgetting") for m in ("progressive", "packnet")},
        lambda one: one["high"] <= 0.05,
        lambda one: one["low"] > 0.05,
    )


def judge_price(section: Mapping[str, Any]) -> Verdict:
    """Whether regularised learners learn later tasks more slowly than from scratch."""
    return judge_bounds(
        {m: score(section, m, "sac", "forward_transfer_auc") for m in REGULARISATION},
        lambda one: one["high"] < 0,
        lambda one: one["low"] > 0,
    )


def judge_replay_price(section: Mapping[str, Any]) -> Verdict:
    """Whether replaying old transitions slows down the learning of new tasks."""
    return judge_bounds(
        {"transfer of replay": score(section, "replay", "sac", "forward_transfer_auc")},
        lambda one: one["high"] < 0,
        lambda one: one["low"] > 0,
    )


def judge_poor_in_rl(section: Mapping[str, Any]) -> Verdict:
    """Whether EWC, GEM and A-GEM keep less in reinforcement learning than in its twin."""
    verdict, figures = judge_bounds(
        {m: gap(section, m, "retention") for m in ("ewc", *PROJECTION)},
        lambda one: one["high"] < 0,
        lambda one: one["low"] > 0,
    )
    return verdict, f"retention with SAC less that with its twin: {figures}"


def judge_good_in_rl(section: Mapping[str, Any]) -> Verdict:
    """Whether memory and expansion keep what was learned."""
    verdict, figures = judge_bounds(
        {m: score(section, m, "sac", "retention") for m in MEMORY_AND_EXPANSION},
        lambda one: one["low"] >= 0.9,
        lambda one: one["high"] < 0.9,
    )
    return verdict, f"retention: {figures}"


def judge_regime(section: Mapping[str, Any]) -> Verdict:
    """Which regime keeps more of what was learned when nothing is done about it."""
    found = gap(section, "finetune", "retention")
    figures = f"retention with SAC less that with its twin, finetune: {format_interval(found)}"
    if found is None or found["low"] is None or found["low"] <= 0 <= found["high"]:
        return OPEN, figures
    return (SUPPORTED if found["high"] < 0 else CONTRADICTED), figures


FINDINGS = [
    Finding(
        "Fine-tuning loses most of what it has learned in reinforcement learning (Continual World, "
        "Wolczyk et al. 2021: forgetting 0.73 on CW20).",
        "its retention lies below 0.5",
        judge_finetuning,
    ),
    Finding(
        "A-GEM forgets as much as fine-tuning in reinforcement learning (Continual World: 0.71 "
        "against 0.73).",
        "its retention is not above fine-tuning's",
        judge_agem,
    ),
    Finding(
        "PackNet and progressive networks forget next to nothing (Continual World, PackNet: "
        "-0.003).",
        "forgetting of both lies at or below 0.05",
        judge_isolation,
    ),
    Finding(
        "Weight regularisation pays for retention with transfer: later tasks are learned more "
        "slowly than from scratch (Continual World: -0.73 with L2, -0.19 with EWC).",
        "transfer of each (area under the curves, against `single-task`) lies below 0",
        judge_price,
    ),
    Finding(
        "Replaying all old experience slows down the learning of new tasks (Continual World, "
        "perfect memory: -1.34).",
        "transfer of `replay` lies below 0",
        judge_replay_price,
    ),
    Finding(
        "Methods that work in supervised learning, EWC, GEM and A-GEM, do poorly in reinforcement "
        "learning (the ten-valve benchmark, CoRL 2021).",
        "each keeps less with SAC than with its supervised twin",
        judge_poor_in_rl,
    ),
    Finding(
        "Methods of memory and expansion do well in reinforcement learning (the same).",
        "retention of each is at least 0.9",
        judge_good_in_rl,
    ),
    Finding(
        "Reinforcement learning forgets more than supervised learning (recent papers disagree).",
        "fine-tuning keeps less with SAC than with its supervised twin",
        judge_regime,
    ),
]


def make_study_page(comparison: Mapping[str, Any]) -> str:
    """The page as Markdown, of nothing but the data."""
    return "\n".join(_lines(comparison)).rstrip() + "\n"


def _lines(comparison: Mapping[str, Any]) -> Iterator[str]:
    sections = comparison["sections"]
    runs = sum(len(group["seeds"]) for section in sections for group in section["groups"])
    yield from [
        "# A first study: the same methods under supervised and reinforcement learning",
        "",
        "Made by `make study`: `lifelong-rl sweep studies/first_study.yaml`, then "
        "`python scripts/study_page.py --runs runs/first_study`. The data are in "
        f"[{DATA.name}](results/{DATA.name}), {runs} runs; every number below comes from it.",
        "",
        "Supervised (`bc`) and reinforcement learner (`sac`) share tasks, order, policy network, "
        "initial weights, optimizer, number of updates, evaluation episodes and the continual "
        "method with its options. What differs is the regime: the twin imitates the task's expert "
        "on a fixed dataset, SAC learns from what its own actions bring. A gap is SAC's score less "
        "its twin's. Values are interquartile means over runs and tasks with stratified-bootstrap "
        "95 % intervals; few seeds make rough intervals.",
        "",
        "## What the data say of published findings",
        "",
        "| finding | holds here if | verdict | figures |",
        "|---|---|---|---|",
    ]
    twins = next(section for section in sections if {"bc", "sac"} <= _agents(section))
    for finding in FINDINGS:
        verdict, figures = finding.judge(twins)
        yield f"| {finding.claim} | {finding.rule} | **{verdict}** | {figures} |"
    yield from [
        "",
        "A finding is contradicted if one method's interval lies wholly on the other side. These "
        f"are {len(twins['tasks'])} tasks, and methods at their default options, which were not "
        "tuned for either regime. EWC's importance is the Fisher information, which grows as the "
        "policy's standard deviation shrinks: SAC learns it, its twin's is 1, so that equal "
        "strengths do not weigh alike.",
    ]
    for section in sections:
        yield from ["", f"## {name_section(section)}", ""]
        yield from (f"- {line}" for line in describe_section(section))
        for table in make_tables(section):
            yield from ["", f"**{table.title}**", ""]
            yield "| " + " | ".join(table.header) + " |"
            yield "|" + "---|" * len(table.header)
            yield from ("| " + " | ".join(row) + " |" for row in table.rows)
        yield ""
        for name in _figure_names(section):
            yield f"![{name}]({FIGURES.name}/{name}.svg)"
        yield from (f"\nNote: {note}." for note in section["notes"])


def _agents(section: Mapping[str, Any]) -> set[str]:
    return {group["agent"] for group in section["groups"]}


def _figure_names(section: Mapping[str, Any]) -> list[str]:
    shown = ["forgetting", "retention"]
    if {"bc", "sac"} <= _agents(section):
        shown += ["scatter-bc-sac", "decay-finetune"]
    return [f"{section['sequence']}-{name}" for name in shown]


def gather(runs: Path) -> dict[str, Any]:
    """Compare the runs in a folder; paths are left out of what is kept of them."""
    found, left_out = find_runs([runs])
    comparison = compare(found, left_out)
    for section in comparison["sections"]:
        for group in section["groups"]:
            group["runs"] = [Path(run).name for run in group["runs"]]
    for one in comparison["left_out"]:
        one["path"] = Path(one["path"]).name
    return comparison


def write_figures(comparison: Mapping[str, Any]) -> None:
    """Draw the figures that the page shows, in place of those that are there."""
    drawings = [
        drawing
        for section in comparison["sections"]
        for drawing in draw(section)
        if drawing.name in _figure_names(section)
    ]
    shutil.rmtree(FIGURES, ignore_errors=True)
    write_drawings(FIGURES, drawings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, help="finished runs; by default the committed data")
    args = parser.parse_args()
    if args.runs:
        comparison = gather(args.runs)
        write_json(DATA, comparison)
        write_figures(comparison)
        for one in comparison["left_out"]:
            print(f"left out: {one['path']}: {one['reason']}")
    else:
        comparison = json.loads(DATA.read_text(encoding="utf-8"))
    PAGE.write_text(make_study_page(comparison), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
