"""Make the page of the first study: tables, figures, and what they say of published findings.

    lifelong-rl sweep studies/first_study.yaml
    python scripts/study_page.py --runs runs/first_study

Without --runs the page is made anew from the committed data alone. Nothing on it is written by
hand but the findings themselves and the rules by which the data support or contradict them.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl.analysis.comparison import compare
from lifelong_rl.analysis.figures import draw
from lifelong_rl.analysis.files import write_drawings
from lifelong_rl.analysis.runs import Run, find_runs
from lifelong_rl.analysis.tables import describe_section, format_interval, make_tables, name_section
from lifelong_rl.storage.atomic import write_json
from lifelong_rl.studies.study import read_study

STUDY = Path("studies/first_study.yaml")
DATA = Path("docs/results/first_study.json")
PAGE = Path("docs/study.md")
FIGURES = Path("docs/study")

OPEN, SUPPORTED, CONTRADICTED = "open", "supported", "contradicted"
REGULARISATION = ("l2", "ewc", "si")
PROJECTION = ("gem", "agem")
MEMORY_AND_EXPANSION = ("replay", "clone", "progressive", "packnet")
ALIKE = 0.1
"""Two retentions that differ by less count as equal."""
LEARNED = 0.9
"""Success from which a task counts as learned, where it is told how early that is."""

Section = Mapping[str, Any]
Interval = Mapping[str, float | None]


@dataclass(frozen=True)
class Finding:
    """A published finding and how it is judged.

    Attributes:
        claim: What was found, and by whom.
        rule: Says which figures have to lie where.
        figures: Of the section of the arm's tasks, by method.
        low: They have to lie above this.
        high: They have to lie below this.
    """

    claim: str
    rule: str
    figures: Callable[[Section], Mapping[str, Interval | None]]
    low: float = -math.inf
    high: float = math.inf

    def judge(self, one: Interval | None) -> str:
        """Supported if the interval lies wholly inside the bounds, contradicted if outside."""
        if one is None or one["low"] is None or one["high"] is None:
            return OPEN
        if self.low < one["low"] and one["high"] < self.high:
            return SUPPORTED
        return CONTRADICTED if one["high"] < self.low or self.high < one["low"] else OPEN

    def describe(self, section: Section) -> tuple[str, str]:
        """The verdict, for each method where they differ, and the figures that it rests on."""
        figures = self.figures(section)
        verdicts = {method: self.judge(one) for method, one in figures.items()}
        shown = ", ".join(
            f"{method} {format_interval(one) if one else 'no runs'}"
            for method, one in figures.items()
        )
        if len(set(verdicts.values())) == 1:
            return f"**{verdicts.popitem()[1]}**", shown
        parts = []
        for verdict in (SUPPORTED, CONTRADICTED, OPEN):
            methods = [method for method, own in verdicts.items() if own == verdict]
            if methods:
                parts.append(f"**{verdict}**: {', '.join(methods)}")
        return "; ".join(parts), shown


def with_sac(score: str, *methods: str) -> Callable[[Section], dict[str, Interval | None]]:
    """A score of methods with SAC."""
    return lambda section: {
        method: _find(section["groups"], "scores", score, method=method, agent="sac")
        for method in methods
    }


def over_finetune(score: str, *methods: str) -> Callable[[Section], dict[str, Interval | None]]:
    """A score of methods with SAC less that of fine-tuning with SAC."""
    return lambda section: {
        method: _find(section["groups"], "over_finetune", score, method=method, agent="sac")
        for method in methods
    }


def over_twin(score: str, *methods: str) -> Callable[[Section], dict[str, Interval | None]]:
    """A score of methods with SAC less that with behaviour cloning."""
    return lambda section: {
        method: _find(
            section["gaps"], "scores", score, method=method, **{"from": "bc", "to": "sac"}
        )
        for method in methods
    }


def _find(
    entries: Iterable[Mapping[str, Any]], kind: str, score: str, **wanted: str
) -> Interval | None:
    for entry in entries:
        if all(entry[key] == value for key, value in wanted.items()):
            found: Interval | None = entry[kind].get(score, {}).get("iqm")
            return found
    return None


FINDINGS = [
    Finding(
        "Fine-tuning loses most of what it has learned in reinforcement learning (Continual World, "
        "Wolczyk et al. 2021: forgetting 0.73 on CW20).",
        "its retention lies below 0.5",
        with_sac("retention", "finetune"),
        high=0.5,
    ),
    Finding(
        "A-GEM forgets as much as fine-tuning in reinforcement learning (Continual World: 0.71 "
        "against 0.73).",
        f"its retention less fine-tuning's lies between -{ALIKE} and {ALIKE}",
        over_finetune("retention", "agem"),
        low=-ALIKE,
        high=ALIKE,
    ),
    Finding(
        "PackNet and progressive networks forget next to nothing (Continual World, PackNet: "
        "-0.003).",
        "forgetting lies below 0.05",
        with_sac("forgetting", "progressive", "packnet"),
        high=0.05,
    ),
    Finding(
        "Weight regularisation pays for retention with transfer (Continual World: -0.73 with L2, "
        "-0.19 with EWC, 0.20 with fine-tuning).",
        "transfer (area under the curves, against `single-task`) less fine-tuning's lies below 0",
        over_finetune("forward_transfer_auc", *REGULARISATION),
        high=0.0,
    ),
    Finding(
        "Replaying all old experience slows down the learning of new tasks (Continual World, "
        "perfect memory: -1.34, fine-tuning 0.20).",
        "transfer less fine-tuning's lies below 0",
        over_finetune("forward_transfer_auc", "replay"),
        high=0.0,
    ),
    Finding(
        "Methods that work in supervised learning, EWC, GEM and A-GEM, do poorly in reinforcement "
        "learning (the ten-valve benchmark, CoRL 2021).",
        "retention with SAC less that with its supervised twin lies below 0",
        over_twin("retention", "ewc", *PROJECTION),
        high=0.0,
    ),
    Finding(
        "Methods of memory and expansion do well in reinforcement learning (the same).",
        "retention lies above 0.9",
        with_sac("retention", *MEMORY_AND_EXPANSION),
        low=0.9,
    ),
    Finding(
        "Reinforcement learning forgets more than supervised learning (recent papers disagree).",
        "fine-tuning's retention with SAC less that with its supervised twin lies below 0",
        over_twin("retention", "finetune"),
        high=0.0,
    ),
]

MENDED_SINCE = {
    "rgo": "its first layer was not projected at all",
    "ewc, mas, l2": "units that were dead on old rows were not held",
    "vcl": "its posterior was pulled towards the first prior, which held nothing with SAC",
    "gem": "its margin was 0.5, which mixes old gradients into nearly every step, as replay does",
    "packnet, den": "they retrained for 500 updates, a tenth of a task's on arm3 and more than a "
    "task's on short ones",
}
"""Methods that have changed since the runs were made, and what was wrong with them."""


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
        *_declared(comparison["declared"]),
        "Supervised (`bc`) and reinforcement learner (`sac`) share tasks, order, policy network, "
        "initial weights, optimizer, evaluation episodes and the continual method with its "
        "options. What differs is the regime: the twin imitates the task's expert on a fixed "
        "dataset, SAC learns from what its own actions bring. A gap is SAC's score less its "
        "twin's. Values are interquartile means over runs and tasks with stratified-bootstrap "
        "95 % intervals, which count the noise of the single-task runs that transfer refers to; "
        "few seeds make rough intervals.",
        "",
        "## What the data say of published findings",
        "",
        "| finding | holds here if | verdict | figures |",
        "|---|---|---|---|",
    ]
    twins = next(section for section in sections if {"bc", "sac"} <= _agents(section))
    for finding in FINDINGS:
        verdict, figures = finding.describe(twins)
        yield f"| {finding.claim} | {finding.rule} | {verdict} | {figures} |"
    yield from [
        "",
        "A verdict is supported where the interval lies wholly inside the bounds, contradicted "
        "where it lies wholly outside, and open otherwise, also with fewer than three runs. These "
        f"are {len(twins['tasks'])} tasks, and methods at their default options, which were not "
        "tuned for either regime.",
        "",
        "## What the regimes do not share",
        "",
        *(f"- {line}" for line in _differences(comparison["updates"])),
        "",
        "## Methods that have changed since",
        "",
        "The runs were made before these were mended; their rows tell of their former selves.",
        "",
        *(f"- {method}: {reason}." for method, reason in MENDED_SINCE.items()),
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


def _declared(declared: Mapping[str, Any]) -> Iterator[str]:
    """How many of the study's cells there are, and which are missing."""
    missing = declared["missing"]
    if missing:
        yield (
            f"{sum(missing.values())} of the {declared['cells']} cells that the study declares "
            "have not been run: "
            + ", ".join(f"{name} ({count})" for name, count in missing.items())
            + "."
        )
        yield ""


def _differences(updates: Mapping[str, Any]) -> Iterator[str]:
    bc, sac = updates["bc"], updates["sac"]
    yield (
        f"Learning is not matched by updates. Behaviour cloning makes {bc['per_task']} a task, "
        f"SAC {sac['per_task']}, since its first steps are random. Fine-tuning, evaluated "
        f"{bc['evaluations']} times a task, first reaches {LEARNED} after {bc['share']:.0%} of the "
        f"task's budget with `bc` and {sac['share']:.0%} with `sac` (median over runs and tasks) "
        "and trains on for the rest: a gap in forgetting is also one of how long a task is "
        "trained after it is learned."
    )
    yield (
        "The rungs between the two are not single steps. From `offline-rl` to `sac` the data "
        "begin to move, but the policy's class, its entropy term and the cloning term change as "
        "well; from `bc` to `offline-rl` the targets are bootstrapped, and the data come from "
        "noisy actions instead of clean labels."
    )
    yield (
        "Equal strengths do not weigh alike. The Fisher information of a Gaussian policy grows "
        "with 1/σ²: SAC learns σ, its twin's is 1. EWC's importance carries this factor, and so "
        "do the distillation losses of `clone`, `lwf` and `generative-replay`."
    )


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
    comparison["declared"] = count_cells({run.path.name for run in found})
    comparison["updates"] = {agent: describe_updates(found, agent) for agent in ("bc", "sac")}
    return comparison


def count_cells(made: Collection[str]) -> dict[str, Any]:
    """How many cells the study has, and for each sequence and agent how many were not made."""
    cells = read_study(STUDY).cells
    missing = Counter(
        f"{cell.setup.config.sequence} with {cell.setup.config.agent}"
        for cell in cells
        if cell.name not in made
    )
    return {"cells": len(cells), "missing": dict(missing)}


def describe_updates(runs: Sequence[Run], agent: str) -> dict[str, Any]:
    """How many updates a task has in an agent's runs of fine-tuning on the arm, and need."""
    own = [
        run for run in runs if (run.sequence, run.method, run.agent) == ("arm3", "finetune", agent)
    ]
    curves = [curve for run in own for curve in run.curves]
    needed = [
        next((s for s, x in zip(c.steps, c.success, strict=True) if x >= LEARNED), c.steps[-1])
        for c in curves
    ]
    options, budget = own[0].config.agent_options, own[0].budget
    learning = budget["steps_per_task"] - options.get("learning_starts", 0)
    steps = math.ceil(learning / budget["num_envs"]) * budget["num_envs"]
    return {
        "per_task": round(steps * options["updates_per_step"]),
        "evaluations": len(curves[0].steps) - 1,
        "share": float(np.median(needed)) / budget["steps_per_task"],
    }


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
