"""A comparison of runs: the one dictionary that the tables, the figures and the page show."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from lifelong_rl.analysis.estimates import Estimate, describe, estimate, estimate_relative
from lifelong_rl.analysis.groups import METHODS_LAST, Group, group_runs, note_mixtures, tell_apart
from lifelong_rl.analysis.regimes import REGIMES, name_regime, rung
from lifelong_rl.analysis.runs import LeftOut, Run
from lifelong_rl.analysis.scores import RELATIVE_SCORES, decay, forgettable, score_runs
from lifelong_rl.analysis.statistics import (
    LEVEL,
    MINIMUM_RUNS,
    probability_of_improvement,
    rank_correlation,
)
from lifelong_rl.metrics.matrix import LEARNED

ADVISED_RUNS = 5
"""Fewer make rough intervals."""
GAP_SCORES = ("learned_performance", "average_performance", "forgetting", "retention")
CONTROLLED_SCORES = (*GAP_SCORES, "forward_transfer_auc", "plasticity")
RANKED_SCORES = ("average_performance", "forgetting", "retention")
MINIMUM_RANKED = 3
"""Two methods are always in perfect agreement or disagreement."""


@dataclass(frozen=True, eq=False)
class ScoredGroup:
    """A group of runs with its scores.

    Attributes:
        group: The runs.
        scores: See `score_runs`.
        estimates: Of each score that is defined.
    """

    group: Group
    scores: dict[str, dict[str, np.ndarray]]
    estimates: dict[str, Estimate]

    @property
    def regime(self) -> str:
        """Name of the regime."""
        return name_regime(self.group.agent, self.group.agent_label)

    @property
    def learned(self) -> dict[str, float]:
        """Success right after learning each task, mean over runs."""
        return {task: float(s.mean()) for task, s in self.scores["learned_performance"].items()}

    @property
    def learned_share(self) -> float:
        """Share of the tasks that were learned, mean over runs."""
        learned = np.stack(list(self.scores["learned_performance"].values()))
        return float((learned >= LEARNED).mean())

    @property
    def learned_little(self) -> bool:
        """Whether too little was learned to tell what was forgotten of it."""
        if "return" in self.group.runs[0].measures:
            return False  # what counts as learned is not known
        return self.estimates["learned_performance"].values["mean"] < LEARNED


def compare(
    runs: Sequence[Run],
    left_out: Sequence[LeftOut] = (),
    *,
    mix: Collection[str] = (),
    reps: int = 5000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare runs by sequence, method and regime.

    Args:
        runs: Finished runs.
        left_out: What is not compared.
        mix: Which of `MIXABLE` may differ between runs of a section.
        reps: Resamples of the bootstrap.
        seed: Decides them.

    Returns:
        Plain lists, dictionaries, numbers and text, with these entries:

        - "settings": how it was computed;
        - "left_out": the runs that are no part of it, and why;
        - "sections": for each sequence and order of tasks, and for each of `MIXABLE` that its runs
          differ in, its "tasks", "regimes", "groups", "gaps", "rank_correlations" and "notes", and
          "apart", what it has that other sections of the sequence have not.

        Each group and gap has "scores": by name the interquartile mean ("iqm") and the "mean",
        each with the ends of its interval, which are None with fewer than `MINIMUM_RUNS` runs.
        Intervals of scores relative to single-task runs count the noise of these as well. A group
        has "over_finetune" beside: its scores less those of plain fine-tuning in its regime.
        A gap is the score with the learner "to" less that with "from". Both are resampled
        independently: equal seeds make no pairs of runs of different learners. The gap in
        retention is matched: over the tasks that both learners have learned (`LEARNED`).
    """
    sections = group_runs(runs, mix)
    generator = np.random.default_rng(seed)
    return {
        "settings": {
            "interval": LEVEL,
            "reps": reps,
            "seed": seed,
            "minimum_runs": MINIMUM_RUNS,
            "learned": LEARNED,
            "mix": sorted(mix),
            "notes": note_mixtures(sections, mix),
        },
        "sections": [
            _section(groups, apart, reps, generator)
            for groups, apart in zip(sections, tell_apart(sections, mix), strict=True)
        ],
        "left_out": [{"path": str(one.path), "reason": one.reason} for one in left_out],
    }


def _section(
    groups: Sequence[Group], apart: str, reps: int, generator: np.random.Generator
) -> dict[str, Any]:
    scored = [_score(group, groups, reps, generator) for group in groups]
    first = groups[0].runs[0]
    runs = [run for group in groups for run in group.runs]
    agents = dict.fromkeys((rung(group.agent), group.agent_label, group.agent) for group in groups)
    return {
        "sequence": first.sequence,
        "order": first.order,
        "apart": apart,
        "tasks": list(first.tasks),
        "phases": list(first.phase_labels),
        "measure": name_measure(first.measures),
        "budget": {
            name: _only([run.budget.get(name) for run in runs]) for name in sorted(first.budget)
        },
        "mujoco": _only([run.mujoco for run in runs]),
        "regimes": [
            {
                "agent": agent,
                "label": label,
                "name": name_regime(agent, label),
                "description": REGIMES[agent].description if agent in REGIMES else "",
            }
            for _, label, agent in sorted(agents)
        ],
        "groups": [_describe_group(one, scored) for one in scored],
        "gaps": [_gap(*pair, reps, generator) for pair in _pairs(scored)],
        "rank_correlations": list(_rank_correlations(scored)),
        "notes": list(_notes(scored)),
    }


def _score(
    group: Group, groups: Sequence[Group], reps: int, generator: np.random.Generator
) -> ScoredGroup:
    reference = reference_runs(group, groups)
    scores = score_runs(group.runs, reference)
    estimates = {}
    for name, by_task in scores.items():
        relative = RELATIVE_SCORES.get(name)
        if relative is None or reference is None:
            found = estimate(by_task, reps, generator)
        else:
            measured, alone = (relative.measure(runs) for runs in (group.runs, reference))
            found = estimate_relative(measured, alone, relative.relate, reps, generator)
        if found is not None:
            estimates[name] = found
    return ScoredGroup(group, scores, estimates)


def reference_runs(group: Group, groups: Sequence[Group]) -> Sequence[Run] | None:
    """Runs that learn each task alone, with the group's learner; None unless one group does that.

    Those with the same options of the learner, or where there are none, those with others.
    """
    alone = [one for one in groups if one.method == "single-task" and one.agent == group.agent]
    alike = [one for one in alone if one.agent_label == group.agent_label]
    found = alike or alone
    return found[0].runs if len(found) == 1 else None


def _describe_group(one: ScoredGroup, scored: Sequence[ScoredGroup]) -> dict[str, Any]:
    group, runs = one.group, one.group.runs
    plain = [
        other for other in scored if other.group.method == "finetune" and other.regime == one.regime
    ]
    parameters = _mean_of(runs, "parameters")
    extra = parameters - _mean_of(plain[0].group.runs, "parameters") if plain else None
    return {
        "method": group.method,
        "method_label": group.method_label,
        "method_options": dict(runs[0].method_options),
        "agent": group.agent,
        "agent_label": group.agent_label,
        "agent_options": dict(runs[0].agent_options),
        "regime": one.regime,
        "seeds": [run.seed for run in runs],
        "runs": [str(run.path) for run in runs],
        "learned_share": one.learned_share,
        "learned_little": one.learned_little,
        "scores": {name: found.as_dict() for name, found in one.estimates.items()},
        "over_finetune": _differences(one, plain[0]) if plain and plain[0] is not one else {},
        "scores_by_task": {
            name: {task: _mean_defined(values) for task, values in by_task.items()}
            for name, by_task in one.scores.items()
        },
        "cost": {
            "parameters": parameters,
            "extra_parameters": extra,
            "memory_bytes": _mean_of(runs, "memory_bytes"),
        },
        "decay": decay(runs),
    }


def _differences(one: ScoredGroup, plain: ScoredGroup) -> dict[str, Any]:
    """Scores less those of fine-tuning in the same regime, the control of every method."""
    return {
        name: (one.estimates[name] - plain.estimates[name]).as_dict()
        for name in CONTROLLED_SCORES
        if name in one.estimates and name in plain.estimates
    }


def _pairs(scored: Sequence[ScoredGroup]) -> list[tuple[ScoredGroup, ScoredGroup]]:
    """Pairs of groups of one method and its options, the more supervised regime first."""
    return [
        (one, other)
        for one, other in combinations(scored, 2)
        if one.group.method_label == other.group.method_label
        and one.group.agent != other.group.agent
    ]


def _gap(
    one: ScoredGroup, other: ScoredGroup, reps: int, generator: np.random.Generator
) -> dict[str, Any]:
    both = [task for task in one.learned if min(one.learned[task], other.learned[task]) >= LEARNED]
    scores = {
        name: (other.estimates[name] - one.estimates[name]).as_dict()
        for name in GAP_SCORES
        if name != "retention"
    }
    retained = [
        estimate(
            {task: s for task, s in each.scores.get("retention", {}).items() if task in both},
            reps,
            generator,
        )
        for each in (one, other)
    ]
    if retained[0] is not None and retained[1] is not None:
        scores["retention"] = (retained[1] - retained[0]).as_dict()
    forgotten = [
        np.stack([each.scores["forgetting"][task] for task in tasks], axis=1)
        for each in (other, one)
        if (tasks := forgettable(each.group.runs[0]))
    ]
    return {
        "method": one.group.method,
        "method_label": one.group.method_label,
        "from": one.group.agent_label,
        "to": other.group.agent_label,
        "runs": [len(one.group.runs), len(other.group.runs)],
        "tasks_learned_by_both": both,
        "scores": scores,
        "probability_of_more_forgetting": (
            float(probability_of_improvement(*forgotten)) if forgotten else None
        ),
    }


def _rank_correlations(scored: Sequence[ScoredGroup]) -> Iterator[dict[str, Any]]:
    """How far two regimes agree on the order of the methods; references are not ranked."""
    pairs = _pairs([one for one in scored if one.group.method not in METHODS_LAST])
    sides = {pair: (pair[0].group.agent_label, pair[1].group.agent_label) for pair in pairs}
    for labels in dict.fromkeys(sides.values()):
        for name in RANKED_SCORES:
            ranked = [
                pair
                for pair in pairs
                if sides[pair] == labels and all(name in one.estimates for one in pair)
            ]
            if len(ranked) >= MINIMUM_RANKED:
                yield {
                    "from": labels[0],
                    "to": labels[1],
                    "score": name,
                    "methods": [one.group.method_label for one, _ in ranked],
                    **_correlate(
                        [one.estimates[name] for one, _ in ranked],
                        [other.estimates[name] for _, other in ranked],
                    ),
                }


def _correlate(one: Sequence[Estimate], other: Sequence[Estimate]) -> dict[str, Any]:
    """Correlations of the interquartile means; None where all methods of a side are equal."""
    sides = (one, other)
    values = rank_correlation(*(np.array([e.values["iqm"] for e in side]) for side in sides))
    samples: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    stacks = [[e.samples["iqm"] for e in side if e.samples is not None] for side in sides]
    if len(stacks[0]) == len(stacks[1]) == len(one):
        samples = rank_correlation(*(np.stack(stack, axis=1) for stack in stacks))
    return {
        name: None if np.isnan(value) else describe(float(value), _defined(drawn))
        for name, value, drawn in zip(("spearman", "kendall"), values, samples, strict=True)
    }


def name_measure(measures: Sequence[str]) -> str:
    """What is measured on tasks, in a word or two."""
    if "return" in measures:
        return "relative return"
    return measures[0] if len(set(measures)) == 1 else "success or score"


def _notes(scored: Sequence[ScoredGroup]) -> Iterator[str]:
    run = scored[0].group.runs[0]
    raw = [t for t, measure in zip(run.tasks, run.measures, strict=True) if measure == "return"]
    if raw:
        yield (
            f"{', '.join(raw)}: there is neither success nor a range of scores, so returns are set "
            "against each other: 0 is the lowest of these runs and 1 the highest, and other runs "
            "change that scale"
        )
    little = [
        f"{one.group.method_label} with {one.group.agent_label} ({one.learned_share:.0%} of tasks)"
        for one in scored
        if one.learned_little
    ]
    if little:
        yield f"little was learned (!), so there was little to forget: {', '.join(little)}"
    count = len(scored)
    few = sum(len(one.group.runs) < MINIMUM_RUNS for one in scored)
    rough = sum(MINIMUM_RUNS <= len(one.group.runs) < ADVISED_RUNS for one in scored)
    if few:
        yield f"{few} of {count} groups have fewer than {MINIMUM_RUNS} runs: no intervals"
    if rough:
        yield f"{rough} of {count} groups have fewer than {ADVISED_RUNS} runs: rough intervals"
    alone = [one for one in scored if one.group.method == "single-task"]
    without = dict.fromkeys(
        one.group.agent_label for one in scored if "forward_transfer_auc" not in one.scores
    )
    if without:
        yield (
            "transfer is to tasks not yet begun (GEM's); for that of areas single-task runs are "
            f"missing: {', '.join(without)}"
        )
    for one in alone:
        others = dict.fromkeys(
            other.group.agent_label
            for other in scored
            if "forward_transfer_auc" in other.scores
            and other.group.agent == one.group.agent
            and other.group.agent_label not in {each.group.agent_label for each in alone}
        )
        if others:
            yield (
                f"transfer and plasticity are relative to single-task runs of "
                f"{one.group.agent_label}, also those of {', '.join(others)}"
            )
    with_gap = {one.group.method for one, _ in _pairs(scored)}
    in_both = dict.fromkeys(
        one.group.method
        for one, other in combinations(scored, 2)
        if one.group.method == other.group.method and one.group.agent != other.group.agent
    )
    for method in in_both:
        if method not in with_gap:
            yield f"no gap for {method}: its options differ between the regimes"


def _only(values: Sequence[Any]) -> Any:
    """The value that all are, or a list of the different ones."""
    different = list(dict.fromkeys(values))
    return different[0] if len(different) == 1 else different


def _mean_of(runs: Sequence[Run], attribute: str) -> float:
    return float(np.mean([getattr(run, attribute) for run in runs]))


def _mean_defined(values: np.ndarray) -> float | None:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else None


def _defined(samples: np.ndarray | None) -> np.ndarray | None:
    if samples is None or np.isnan(samples).all():
        return None
    return np.asarray(samples[~np.isnan(samples)])
