"""The figures of a comparison, each of one panel or two so that a phone can show them.

They are drawn without a display and without the state of `matplotlib.pyplot`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lifelong_rl.analysis.regimes import REGIMES
from lifelong_rl.analysis.tables import name_section

COLOURS = {
    "classifier": "#0072B2",
    "bc": "#0072B2",
    "bc-stream": "#56B4E9",
    "offline-rl": "#E69F00",
    "sac": "#D55E00",
    "td3": "#CC79A7",
    "ppo": "#009E73",
}
"""Of agents: Okabe and Ito's palette, which colour-blind people can tell apart."""
PALETTE = tuple(dict.fromkeys(COLOURS.values()))
MARKERS = "osD^vP*X<>p"
BARS = {
    "forgetting": "forgetting",
    "retention": "retention",
    "average_performance": "average performance",
    "forward_transfer": "forward transfer",
}
"""Scores shown as bars, and what they are called."""
WIDTH = 4.6
"""Of a figure, in inches."""
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.facecolor": "none",
    "figure.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.hashsalt": "lifelong-rl",
    "text.parse_math": False,
}


@contextmanager
def styled(more: Mapping[Any, Any] = MappingProxyType({})) -> Iterator[None]:
    """Draw in the block with `STYLE` over matplotlib's own defaults.

    A file `matplotlibrc` changes nothing: one that lies in the working directory is read, and may
    be somebody else's.

    Args:
        more: Goes before `STYLE`.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**STYLE, **more})
        yield


@dataclass(frozen=True)
class Drawing:
    """A figure and what it is.

    Attributes:
        name: For the name of a file.
        caption: For those who see it, and for those who do not.
        figure: The figure.
    """

    name: str
    caption: str
    figure: Figure

    def render(self, kind: str, *, background: str = "white") -> bytes:
        """Return the content of a file, the same every time.

        Args:
            kind: "svg" or "png".
            background: A colour, or "none".
        """
        content = io.BytesIO()
        with styled():
            self.figure.savefig(
                content,
                format=kind,
                dpi=200,
                facecolor=background,
                metadata={"Date": None} if kind == "svg" else None,
            )
        return content.getvalue()


def draw(
    section: Mapping[str, Any], *, statistic: str = "iqm", ink: str = "#222222"
) -> list[Drawing]:
    """All figures of a section.

    Args:
        section: Of a comparison.
        statistic: What is shown of the scores, "iqm" or "mean".
        ink: Colour of text and axes.
    """
    colours = _regime_colours(section["regimes"])
    inks: tuple[Any, ...] = (
        "text.color",
        "axes.labelcolor",
        "axes.edgecolor",
        "xtick.color",
        "ytick.color",
    )
    with styled(dict.fromkeys(inks, ink)):
        return [
            *_bars(section, statistic, colours, ink),
            *_scatters(section, statistic, ink),
            *_decays(section),
        ]


def _bars(
    section: Mapping[str, Any], statistic: str, colours: Mapping[str, str], ink: str
) -> Iterator[Drawing]:
    """Bars of each method, those of its regimes beside one another."""
    methods = list(dict.fromkeys(group["method_label"] for group in section["groups"]))
    thickness = 0.8 / len(colours)
    for score, called in BARS.items():
        shown = [group for group in section["groups"] if score in group["scores"]]
        if not shown:
            continue
        figure = Figure(
            figsize=(WIDTH, 1.1 + len(methods) * max(0.3, 0.17 * len(colours))),
            layout="constrained",
        )
        axes = figure.subplots()
        for regime, colour in colours.items():
            place = (list(colours).index(regime) - (len(colours) - 1) / 2) * thickness
            groups = [group for group in shown if group["agent_label"] == regime]
            estimates = [group["scores"][score][statistic] for group in groups]
            axes.barh(
                [methods.index(group["method_label"]) + place for group in groups],
                [estimate["value"] for estimate in estimates],
                height=0.88 * thickness,
                color=colour,
                edgecolor=colour,  # so that a bar of 0 is seen too
                linewidth=1.5,
                label=_name(section, regime),
            )
            for group, estimate in zip(groups, estimates, strict=True):
                axes.errorbar(
                    estimate["value"],
                    methods.index(group["method_label"]) + place,
                    xerr=_error(estimate),
                    color=ink,
                    linewidth=0.9,
                    capsize=1.5,
                )
        axes.set_yticks(range(len(methods)), methods)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.axvline(0.0, color=ink, linewidth=0.8, zorder=0)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -0.02), max(high, 1.0))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(called)
        figure.legend(loc="outside upper center", ncols=2)
        yield Drawing(
            file_name(section, called),
            f"{called.capitalize()} of each method in each regime, with 95 % intervals.",
            figure,
        )


def _scatters(section: Mapping[str, Any], statistic: str, ink: str) -> Iterator[Drawing]:
    """Forgetting of each method, a supervised regime against one of reinforcement."""
    groups = {(g["agent_label"], g["method_label"]): g["scores"] for g in section["groups"]}
    methods = list(dict.fromkeys(method for _, method in groups))
    kinds = {
        kind: [
            regime["label"]
            for regime in section["regimes"]
            if regime["agent"] in REGIMES and REGIMES[regime["agent"]].kind == kind
        ]
        for kind in ("supervised", "reinforcement")
    }
    for across in kinds["supervised"]:
        for up in kinds["reinforcement"]:
            both = [m for m in methods if (across, m) in groups and (up, m) in groups]
            if not both:
                continue
            figure = Figure(figsize=(WIDTH, WIDTH - 0.6), layout="constrained")
            axes = figure.subplots()
            for method in both:
                x, y = (groups[side, method]["forgetting"][statistic] for side in (across, up))
                index = methods.index(method)
                colour = PALETTE[index % len(PALETTE)]
                axes.errorbar(
                    x["value"],
                    y["value"],
                    xerr=_error(x),
                    yerr=_error(y),
                    color=colour,
                    marker=MARKERS[index % len(MARKERS)],
                    linestyle="none",
                    linewidth=0.8,
                    markersize=7,
                    markerfacecolor="none",  # so that equal points are all seen
                    markeredgewidth=1.5,
                    label=method,
                )
            low = min(-0.05, axes.get_xlim()[0], axes.get_ylim()[0])
            high = max(1.0, axes.get_xlim()[1], axes.get_ylim()[1])
            axes.plot([low, high], [low, high], color=ink, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
            axes.set_xlabel(f"forgetting, {_name(section, across)}")
            axes.set_ylabel(f"forgetting, {_name(section, up)}")
            figure.legend(loc="outside right center")
            yield Drawing(
                file_name(section, f"scatter-{across}-{up}"),
                f"Forgetting of each method: {_name(section, across)} against "
                f"{_name(section, up)}. Above the diagonal the latter forgets more.",
                figure,
            )


def _decays(section: Mapping[str, Any]) -> Iterator[Drawing]:
    """Success on each task against the tasks learned since, a figure for each method."""
    tasks = section["tasks"]
    if len(tasks) < 2:
        return
    shades = matplotlib.colormaps["viridis"]
    for method in dict.fromkeys(group["method_label"] for group in section["groups"]):
        groups = [group for group in section["groups"] if group["method_label"] == method]
        columns = min(len(groups), 2)
        rows = -(-len(groups) // columns)
        legend_rows = -(-len(tasks) // 3)
        figure = Figure(
            figsize=(WIDTH, 0.9 + 1.7 * rows + 0.17 * legend_rows), layout="constrained"
        )
        panels = [*figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat]
        for axes in panels[len(groups) :]:
            axes.remove()
        for axes, group in zip(panels, groups, strict=False):
            for j, task in enumerate(tasks):
                success = group["decay"][task]
                axes.plot(
                    range(len(success)),
                    success,
                    color=shades(0.3 + 0.6 * j / (len(tasks) - 1)),
                    marker=MARKERS[j % len(MARKERS)],
                    markersize=3.5,
                    linewidth=1.2,
                    label=f"{j + 1} {task}" if group is groups[0] else None,
                )
            axes.set_title(group["regime"])
            axes.set_ylim(-0.03, 1.03)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set(xlabel="tasks learned since", ylabel=section["measure"])
            axes.label_outer()
        figure.suptitle(method)
        figure.legend(loc="outside lower center", ncols=3)
        yield Drawing(
            file_name(section, f"decay-{method}"),
            f"{method}: {section['measure']} on each task against the number of tasks learned "
            "since, mean over runs.",
            figure,
        )


def _regime_colours(regimes: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """A colour for each regime by label: its agent's, or another where that is taken."""
    colours: dict[str, str] = {}
    for regime in regimes:
        left = [colour for colour in PALETTE if colour not in colours.values()] or list(PALETTE)
        own = COLOURS.get(regime["agent"])
        colours[regime["label"]] = own if own in left else left[0]
    return colours


def _error(estimate: Mapping[str, Any]) -> list[list[float]] | None:
    """Distances to the ends of the interval, as matplotlib wants them."""
    if estimate["low"] is None:
        return None
    value = estimate["value"]
    return [[max(value - estimate["low"], 0.0)], [max(estimate["high"] - value, 0.0)]]


def _name(section: Mapping[str, Any], label: str) -> str:
    return str(next(r["name"] for r in section["regimes"] if r["label"] == label))


def file_name(section: Mapping[str, Any], shown: str) -> str:
    """What a file is called that shows something of a section, without its ending."""
    return re.sub(r"[^\w.+-]+", "-", f"{name_section(section)}-{shown}").strip("-")
