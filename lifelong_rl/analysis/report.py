"""A report on runs: their comparison, with the curves, the profiles and each run beside it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl.analysis.comparison import compare, reference_runs
from lifelong_rl.analysis.findings import describe_findings
from lifelong_rl.analysis.groups import METHODS_LAST, Group, group_runs
from lifelong_rl.analysis.reproduction import command, describe_origin
from lifelong_rl.analysis.runs import LeftOut, Run
from lifelong_rl.analysis.scores import score_runs
from lifelong_rl.analysis.statistics import (
    MINIMUM_RUNS,
    draw_by_task,
    improvement_interval,
    mean_interval,
    percentile_interval,
    performance_profile,
    probability_of_improvement,
    resample,
    supports_interval,
)
from lifelong_rl.analysis.unlearned import describe_unlearned
from lifelong_rl.metrics.curves import success_over_sequence
from lifelong_rl.metrics.matrix import Curve, compute_metrics

PROFILED = ("average_performance", "learned_performance", "retention")
THRESHOLDS = tuple(round(0.02 * k, 2) for k in range(50))
BETTER = {"average_performance": 1.0, "forgetting": -1.0, "retention": 1.0}
"""Scores by which methods are set against one another: whether more of it is better, or less."""
MOST_PAIRED = 30
"""Methods of a regime that are set against one another; nobody reads a table of more."""
CLIPS = "clips"
"""Folder of a run where its clips are looked for."""
CLIP_KINDS = {".gif": "image/gif", ".png": "image/png", ".mp4": "video/mp4"}


def make_report(
    runs: Sequence[Run],
    left_out: Sequence[LeftOut] = (),
    *,
    mix: Collection[str] = (),
    reps: int = 5000,
    seed: int = 0,
) -> dict[str, Any]:
    """Report on runs.

    Args:
        runs: Finished runs, at least one.
        left_out: What is not reported on.
        mix: Which of `MIXABLE` may differ between runs of a section.
        reps: Resamples of the bootstrap.
        seed: Decides them.

    Returns:
        The comparison (see `compare`) with more in it. Each section has "statistic" (what its
        tables show: the mean where no group has enough runs for an interval), "findings" and
        "unlearned" (sentences: the latter on each task that a run did not learn, and what moved
        meanwhile), "improvement" and "clips"; each group has "matrix" (mean over runs),
        "runs_by_seed", "curves", "profiles" and "command". "origin" tells what all runs were
        made with.
    """
    report = compare(runs, left_out, mix=mix, reps=reps, seed=seed)
    generator = np.random.default_rng([seed, 1])
    for section, groups in zip(report["sections"], group_runs(runs, mix), strict=True):
        several = any(len(group.runs) >= MINIMUM_RUNS for group in groups)
        section["statistic"] = "iqm" if several else "mean"
        section["starts"] = list(groups[0].runs[0].starts)
        scores = [score_runs(group.runs, reference_runs(group, groups)) for group in groups]
        for described, group, by_name in zip(section["groups"], groups, scores, strict=True):
            described |= _describe_group(group, by_name, section["starts"], reps, generator)
        paired = [*_paired_regimes(groups, section["notes"])]
        section["improvement"] = _improvement(paired, groups, scores, reps, generator)
        section["clips"] = [clip for group in groups for run in group.runs for clip in _clips(run)]
        section["findings"] = describe_findings(section)
        section["unlearned"] = describe_unlearned(groups)
    report["origin"] = describe_origin(runs)
    return report


def _describe_group(
    group: Group,
    scores: Mapping[str, Mapping[str, np.ndarray]],
    starts: Sequence[int],
    reps: int,
    generator: np.random.Generator,
) -> dict[str, Any]:
    runs = group.runs
    matrices = np.stack([run.matrix for run in runs])
    profiles = {
        name: _profile(_matrix_of(scores[name]), reps, generator)
        for name in PROFILED
        if name in scores
    }
    return {
        "matrix": matrices.mean(axis=0).tolist(),
        "runs_by_seed": [
            {
                "path": str(run.path),
                "seed": run.seed,
                "matrix": run.matrix.tolist(),
                "metrics": compute_metrics(
                    run.matrix, run.curves, phases=run.phases, bounded="return" not in run.measures
                ),
                "learn_seconds": float(np.sum(run.learn_seconds)),
            }
            for run in runs
        ],
        "curves": _curves(runs, starts, reps, generator),
        "profiles": {name: profile for name, profile in profiles.items() if profile is not None},
        "command": command(runs[0].config, [run.seed for run in runs]),
    }


def _curves(
    runs: Sequence[Run], starts: Sequence[int], reps: int, generator: np.random.Generator
) -> dict[str, dict[str, Any]]:
    """Success on each task over the sequence, and on all of them together: mean over runs.

    They are given at the steps of the first run, each with the pointwise interval of the mean.
    """
    by_run = [
        success_over_sequence(run.matrix, _stretched(run, starts), starts, run.phases)
        for run in runs
    ]
    found = {
        task: _mean_curve([curves[j] for curves in by_run], reps, generator)
        for j, task in enumerate(runs[0].tasks)
    }
    average = [Curve(starts, run.matrix.mean(axis=1).tolist()) for run in runs]
    return {"all tasks": _mean_curve(average, reps, generator), **found}


def _stretched(run: Run, starts: Sequence[int]) -> list[Curve]:
    """The curves of a run as if its phases had begun at these steps."""
    factors = np.diff(starts) / run.phase_steps
    return [
        Curve([float(factor * step) for step in curve.steps], curve.success)
        for curve, factor in zip(run.curves, factors, strict=True)
    ]


def _mean_curve(
    curves: Sequence[Curve], reps: int, generator: np.random.Generator
) -> dict[str, Any]:
    steps = [float(step) for step in curves[0].steps]
    success = np.array([np.interp(steps, curve.steps, curve.success) for curve in curves])
    low = high = None
    if len(curves) >= MINIMUM_RUNS:
        low, high = (end.tolist() for end in mean_interval(success, reps, generator))
    return {"steps": steps, "value": success.mean(axis=0).tolist(), "low": low, "high": high}


def _profile(
    scores: np.ndarray, reps: int, generator: np.random.Generator
) -> dict[str, Any] | None:
    """Share of the scores of all runs and tasks above each of `THRESHOLDS`, with its interval."""
    if np.isnan(scores).all():
        return None
    low = high = None
    if supports_interval(scores):
        drawn = performance_profile(resample(scores, reps, generator), THRESHOLDS)
        low, high = (end.tolist() for end in percentile_interval(drawn))
    return {
        "thresholds": list(THRESHOLDS),
        "value": performance_profile(scores, THRESHOLDS).tolist(),
        "low": low,
        "high": high,
    }


def _paired_regimes(groups: Sequence[Group], notes: list[str]) -> Iterator[str]:
    """Labels of the regimes with few enough methods for a table of pairs; notes the others."""
    for regime in dict.fromkeys(group.agent_label for group in groups):
        count = sum(
            group.agent_label == regime and group.method not in METHODS_LAST for group in groups
        )
        if count <= MOST_PAIRED:
            yield regime
        else:
            notes.append(
                f"{count} methods with {regime} are too many to be set against one another in "
                f"pairs (at most {MOST_PAIRED})"
            )


def _improvement(
    regimes: Iterable[str],
    groups: Sequence[Group],
    scores: Sequence[Mapping[str, Mapping[str, np.ndarray]]],
    reps: int,
    generator: np.random.Generator,
) -> dict[str, dict[str, Any]]:
    """For each regime and score how probably a run of one method is better than one of another.

    Returns:
        By label of the regime, and by score: "methods", and "value", "low" and "high" of each
        pair, (methods, methods), where None stands for what is not known.
    """
    found: dict[str, dict[str, Any]] = {}
    for regime in regimes:
        for name, sign in BETTER.items():
            sides = {
                group.method_label: sign * _matrix_of(by_name.get(name, {}))
                for group, by_name in zip(groups, scores, strict=True)
                if group.agent_label == regime and group.method not in METHODS_LAST
            }
            sides = {method: side for method, side in sides.items() if _is_defined(side)}
            if len(sides) > 1:
                found.setdefault(regime, {})[name] = _pairwise(sides, reps, generator)
    return found


def _pairwise(
    sides: Mapping[str, np.ndarray], reps: int, generator: np.random.Generator
) -> dict[str, Any]:
    """Both orders of a pair: their probabilities add to 1, and so do the ends of the intervals."""
    count = len(sides)
    value, low, high = (np.full((count, count), np.nan) for _ in range(3))
    drawn = [
        draw_by_task(side, reps, generator) if supports_interval(side) else None
        for side in sides.values()
    ]
    for (i, one), (j, other) in combinations(enumerate(sides.values()), 2):
        value[i, j] = probability_of_improvement(one, other)
        own, others = drawn[i], drawn[j]
        if own is not None and others is not None:
            low[i, j], high[i, j] = improvement_interval(one, other, own, others)
        for table, mirrored in ((value, value), (low, high), (high, low)):
            table[j, i] = 1.0 - mirrored[i, j]
    known = {"value": value, "low": low, "high": high}
    return {"methods": list(sides)} | {
        name: [[None if np.isnan(p) else float(p) for p in row] for row in table]
        for name, table in known.items()
    }


def _matrix_of(by_task: Mapping[str, np.ndarray]) -> np.ndarray:
    """(runs, tasks)."""
    return np.stack(list(by_task.values()), axis=1) if by_task else np.empty((1, 0))


def _is_defined(scores: np.ndarray) -> bool:
    """Whether there is a score of each task, so that a pair has one to compare."""
    return scores.size > 0 and not np.isnan(scores).all(axis=0).any()


def _clips(run: Run) -> list[dict[str, str]]:
    """The clips in a run's folder, by name."""
    folder = run.path / CLIPS
    if not folder.is_dir():
        return []
    return [
        {"path": str(path), "kind": CLIP_KINDS[path.suffix], "title": _title(run, path)}
        for path in sorted(folder.iterdir())
        if path.suffix in CLIP_KINDS and path.is_file()
    ]


def _title(run: Run, clip: Path) -> str:
    return f"{clip.stem}: {run.agent} with {run.method}, seed {run.seed}"
