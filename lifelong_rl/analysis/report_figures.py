"""The figures of a report for papers: those of its comparison, and what only a report has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lifelong_rl.analysis.figures import PALETTE, WIDTH, Drawing, draw, file_name, styled
from lifelong_rl.analysis.run_figures import CROWDED, draw_matrix, draw_success
from lifelong_rl.metrics.matrix import Curve

DASHES = ("-", "--", ":", "-.")


def draw_report(section: Mapping[str, Any]) -> list[Drawing]:
    """All figures of a section of a report, one after another."""
    with styled():
        own = [
            *_matrices(section),
            *_successes(section),
            *_averages(section),
            *_profiles(section),
            *_improvements(section),
        ]
    return [*draw(section, statistic=section["statistic"]), *own]


def _matrices(section: Mapping[str, Any]) -> Iterator[Drawing]:
    for group in section["groups"]:
        name = _name(group)
        measure = section["measure"]
        figure = draw_matrix(
            group["matrix"],
            section["tasks"],
            phases=len(section["phases"]),
            measure=measure,
            title=name,
        )
        caption = f"{name}: {measure} on each task before learning, and after learning each task."
        yield Drawing(file_name(section, f"matrix-{name}"), caption, figure)


def _successes(section: Mapping[str, Any]) -> Iterator[Drawing]:
    tasks = section["tasks"]
    for group in section["groups"]:
        name = _name(group)
        curves = [group["curves"][task] for task in tasks]
        figure = draw_success(
            [Curve(curve["steps"], curve["value"]) for curve in curves],
            tasks,
            section["starts"],
            bands=[_band(curve) for curve in curves],
            measure=section["measure"],
            title=name,
        )
        caption = (
            f"{name}: {section['measure']} over the sequence, mean over runs with 95 % intervals."
        )
        yield Drawing(file_name(section, f"success-{name}"), caption, figure)


def _averages(section: Mapping[str, Any]) -> Iterator[Drawing]:
    """Success on all tasks together over the sequence, a line for each group."""
    figure, axes = _panel(section["groups"])
    for number, group in enumerate(section["groups"]):
        curve = group["curves"]["all tasks"]
        _line(axes, number, curve["steps"], curve, _name(group))
    axes.set(xlabel="steps", ylabel=f"{section['measure']} on all tasks", ylim=(-0.03, 1.03))
    figure.legend(loc="outside lower center", ncols=2)
    what = section["measure"].capitalize()
    caption = f"{what} on all tasks over the sequence, mean over runs with 95 % intervals."
    yield Drawing(file_name(section, "success on all tasks"), caption, figure)


def _profiles(section: Mapping[str, Any]) -> Iterator[Drawing]:
    for score in dict.fromkeys(name for group in section["groups"] for name in group["profiles"]):
        figure, axes = _panel(section["groups"])
        for number, group in enumerate(section["groups"]):
            profile = group["profiles"].get(score)
            if profile is not None:
                _line(axes, number, profile["thresholds"], profile, _name(group))
        called = score.replace("_", " ")
        axes.set(xlabel=f"{called} above", ylabel="share of runs and tasks", ylim=(-0.03, 1.03))
        figure.legend(loc="outside lower center", ncols=2)
        caption = f"Share of runs and tasks with a {called} above each threshold."
        yield Drawing(file_name(section, f"profile-{called}"), caption, figure)


def _improvements(section: Mapping[str, Any]) -> Iterator[Drawing]:
    for regime, scores in section["improvement"].items():
        for score, found in scores.items():
            methods, called = found["methods"], score.replace("_", " ")
            side = 1.6 + 0.3 * len(methods)
            figure = Figure(figsize=(side + 0.6, side), layout="constrained")
            axes = figure.subplots()
            values = np.array(found["value"], dtype=float)
            image = axes.imshow(values, vmin=0.0, vmax=1.0, cmap="RdBu")
            if len(methods) < CROWDED:
                for (i, j), value in np.ndenumerate(values):
                    if not np.isnan(value):
                        axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7)
            axes.set_xticks(range(len(methods)), methods, rotation=90)
            axes.set_yticks(range(len(methods)), methods)
            axes.tick_params(length=0)
            figure.colorbar(image, ax=axes, label="P(row better than column)", fraction=0.05)
            yield Drawing(
                file_name(section, f"improvement-{regime}-{called}"),
                f"{regime}: how probably a run with the method of the row is better in {called} "
                "than one with that of the column, mean over tasks.",
                figure,
            )


def _panel(groups: Sequence[Mapping[str, Any]]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, 2.6 + 0.17 * -(-len(groups) // 2)), layout="constrained")
    return figure, figure.subplots()


def _line(
    axes: Axes, number: int, across: Sequence[float], curve: Mapping[str, Any], label: str
) -> None:
    turn, colour = divmod(number, len(PALETTE))
    style = DASHES[turn % len(DASHES)]
    axes.plot(across, curve["value"], color=PALETTE[colour], linestyle=style, label=label)
    if band := _band(curve):
        axes.fill_between(across, *band, color=PALETTE[colour], alpha=0.2, linewidth=0)


def _band(curve: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]] | None:
    return None if curve["low"] is None else (curve["low"], curve["high"])


def _name(group: Mapping[str, Any]) -> str:
    return f"{group['method_label']} with {group['agent_label']}"
