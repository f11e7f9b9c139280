"""Tell what rows without labels bring, and what learning all at once does, by method and objective.

    lifelong-rl sweep studies/few_labels.yaml
    python scripts/few_labels.py runs/few_labels --json docs/results/few_labels.json \
        --page docs/few_labels_study.md

Runs with the same seed have the same labelled rows and the same initial weights, so an objective is
set against `none` pair by pair: the mean difference and its 95 % interval by Student's t.
`--page` makes the page from the file of the figures, without runs if none are given.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lifelong_rl.analysis.figures import MARKERS, PALETTE, WIDTH, Drawing, styled
from lifelong_rl.analysis.files import write_drawings
from lifelong_rl.analysis.reproduction import describe_origin
from lifelong_rl.analysis.runs import Run, find_runs
from lifelong_rl.analysis.significance import t_quantile
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.atomic import write_file, write_json

PLAIN = "none"
METHODS = ("finetune", "ewc", "replay", "joint")
LEVEL = 0.95
VERDICTS = ("helps", "harms", "is not told apart")
INTRODUCTION = """\
Average accuracy over all tasks at the end. An objective is set against `none`, which learns the
labelled rows alone, with the same labelled rows and initial weights; differences have 95 %
intervals by Student's t over pairs of seeds, and are not corrected for their number."""
NEIGHBOURS = """\
Objectives that learn what the network says of rows without labels expect rows that look alike to be
of one class. The nearest other row (of another episode) is of the same class in"""

Scores = dict[int, float]
"""Average performance at the end, by seed."""


def estimate(values: Sequence[float]) -> dict[str, Any]:
    """The mean of some values and its interval; the interval is None of fewer than two."""
    found = np.asarray(values, float)
    low = high = None
    if len(found) > 1:
        half = t_quantile(0.5 + LEVEL / 2, len(found) - 1) * found.std(ddof=1) / len(found) ** 0.5
        low, high = float(found.mean() - half), float(found.mean() + half)
    return {"mean": float(found.mean()), "low": low, "high": high, "runs": len(found)}


def describe(run: Run) -> tuple[str, float | str, bool, str, str]:
    """What tells a run from others but for its seed.

    Returns:
        Sequence, share of labels, whether there is an encoder, method, and objective.
    """
    options = run.agent_options
    encoder = bool(options["encoder"])
    return run.sequence, run.budget["labels"], encoder, run.method, str(options["objective"])


def measure(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A row for each setting with each objective, in the order of the settings."""
    found: dict[tuple[Any, ...], Scores] = {}
    for run in runs:
        found.setdefault(describe(run), {})[run.seed] = float(run.matrix[-1].mean())
    rows = []
    for key, scores in sorted(found.items(), key=lambda item: _place(item[0])):
        sequence, labels, encoder, method, objective = key
        plain = found.get((sequence, labels, encoder, method, PLAIN), {})
        pairs = [scores[seed] - plain[seed] for seed in sorted(scores.keys() & plain.keys())]
        rows.append(
            {
                "sequence": sequence,
                "labels": labels,
                "encoder": encoder,
                "method": method,
                "objective": objective,
                "each_run": [scores[seed] for seed in sorted(scores)],
                "score": estimate(list(scores.values())),
                "difference": estimate(pairs) if pairs and objective != PLAIN else None,
            }
        )
    return rows


def _place(key: tuple[Any, ...]) -> tuple[Any, ...]:
    sequence, labels, encoder, method, objective = key
    place = METHODS.index(method) if method in METHODS else len(METHODS)
    digits = sequence == "split-digits"
    return not digits, sequence, str(labels), encoder, place, objective != PLAIN, objective


def measure_neighbours(sequence: str) -> float:
    """How often the nearest other row is of the same class, over all rows of all tasks.

    Rows of one episode are not held to be neighbours.
    """
    stream: Any = prepare(RunConfig(sequence=sequence, agent="classifier")).sequence
    shares = []
    for task in range(stream.num_tasks):
        env = stream.make_env(task, num_envs=1)
        labelled, unlabelled = env.labelled_data(), env.unlabelled_data()
        rows, labels = labelled["observations"].astype(np.float64), labelled["labels"]
        episodes = unlabelled.get("episodes", np.arange(len(rows)))
        squares = (rows**2).sum(axis=1)
        distances = squares[:, None] - 2 * rows @ rows.T + squares
        distances[episodes[:, None] == episodes] = np.inf
        shares.append(float((labels[distances.argmin(axis=1)] == labels).mean()))
    return float(np.mean(shares))


def make_page(found: Mapping[str, Any], folder: str) -> str:
    """The page, in Markdown.

    Args:
        found: What `main` writes.
        folder: Of the figures, beside the page.
    """
    return "\n".join(_lines(found, folder)) + "\n"


def _lines(found: Mapping[str, Any], folder: str) -> Iterator[str]:
    rows = found["rows"]
    yield "# Few labels: what rows without labels bring"
    yield ""
    yield from INTRODUCTION.splitlines()
    yield ""
    yield "    lifelong-rl sweep studies/few_labels.yaml"
    yield "    python scripts/few_labels.py runs/few_labels --json docs/results/few_labels.json \\"
    yield "        --page docs/few_labels_study.md"
    yield ""
    yield f"Made with {found['origin']}."
    yield ""
    yield from _verdicts(rows)
    yield "## How near rows of a class are"
    yield ""
    yield from NEIGHBOURS.splitlines()
    told = [f"{share:.2f} of `{name}`" for name, share in found["neighbours"].items()]
    yield ", ".join(told) + " (all rows of all tasks, with the labels that the agents do not see)."
    yield ""
    for setting in _settings(rows):
        own = [row for row in rows if _setting(row) == setting]
        yield f"## {_name(setting)}"
        yield ""
        if any(row["difference"] for row in own):
            stem = _stem(setting)
            yield f"![Differences to none, by method]({folder}/{stem}.png)"
            yield ""
        yield from _table(own)
        yield ""
        yield from _tell_joint(own)


def _setting(row: Mapping[str, Any]) -> tuple[str, Any, bool]:
    return row["sequence"], row["labels"], row["encoder"]


def _settings(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any, bool]]:
    return list(dict.fromkeys(map(_setting, rows)))


def _name(setting: tuple[str, Any, bool]) -> str:
    sequence, labels, encoder = setting
    share = f"{100 * labels:g} % labels" if isinstance(labels, float) else f"{labels} labels"
    return f"{sequence}, {share}" + (", seen through an encoder" if encoder else "")


def _stem(setting: tuple[str, Any, bool]) -> str:
    sequence, labels, encoder = setting
    return f"{sequence}-{labels}" + ("-encoder" if encoder else "")


def _verdicts(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Which objectives help where, by the intervals alone."""
    told: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        one = row["difference"]
        if one is None or one["low"] is None:
            continue
        kind = VERDICTS[0 if one["low"] > 0 else 1 if one["high"] < 0 else 2]
        where = f"{row['method']} on {_name(_setting(row))}"
        told.setdefault(row["objective"], {}).setdefault(kind, []).append(where)
    yield "| objective | helps | harms | is not told apart from `none` |"
    yield "|---|---|---|---|"
    for objective, kinds in told.items():
        cells = [
            "; ".join(kinds.get(kind, [])) or "–"
            for kind in ("helps", "harms", "is not told apart")
        ]
        yield f"| `{objective}` | {' | '.join(cells)} |"
    yield ""


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    objectives = list(dict.fromkeys(row["objective"] for row in rows))
    yield "| method | " + " | ".join(f"`{name}`" for name in objectives) + " |"
    yield "|---|" + "---|" * len(objectives)
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["objective"]: row for row in rows if row["method"] == method}
        cells = [_cell(own[name]) if name in own else "" for name in objectives]
        yield f"| `{method}` | " + " | ".join(cells) + " |"


def _cell(row: Mapping[str, Any]) -> str:
    text = f"{row['score']['mean']:.2f}"
    one = row["difference"]
    return text if one is None else f"{text} ({_signed(one)})"


def _signed(one: Mapping[str, Any]) -> str:
    if one["low"] is None:
        return f"{one['mean']:+.2f}"
    return f"{one['mean']:+.2f}, {one['low']:+.2f} to {one['high']:+.2f}"


def _tell_joint(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How far learning one task after another is from learning all at once."""
    scores = {(row["method"], row["objective"]): row["each_run"] for row in rows}
    objectives = list(dict.fromkeys(row["objective"] for row in rows))
    told = []
    for name in objectives:
        after, at_once = scores.get(("finetune", name)), scores.get(("joint", name))
        if after and at_once and len(after) == len(at_once):
            pairs = [one - other for one, other in zip(at_once, after, strict=True)]
            told.append(f"{_signed(estimate(pairs))} with `{name}`")
    if told:
        yield "All tasks at once (`joint`) beside one after another (`finetune`):"
        yield "; ".join(told) + "."
        yield ""


def draw(rows: Sequence[Mapping[str, Any]]) -> list[Drawing]:
    """The differences of each setting."""
    objectives = list(dict.fromkeys(row["objective"] for row in rows if row["objective"] != PLAIN))
    drawings = []
    for setting in _settings(rows):
        own = [row for row in rows if _setting(row) == setting and row["difference"]]
        if not own:
            continue
        methods = list(dict.fromkeys(row["method"] for row in own))
        shown = [name for name in objectives if any(row["objective"] == name for row in own)]
        with styled():
            figure = Figure(figsize=(WIDTH, 0.6 + 0.22 * len(methods) * (len(shown) + 0.8)))
            axes = figure.add_subplot()
            axes.axvline(0, color="#888888", linewidth=0.8)
            for offset, name in enumerate(shown):
                colour = PALETTE[objectives.index(name) % len(PALETTE)]
                marker = MARKERS[objectives.index(name)]
                of_name = [row for row in own if row["objective"] == name]
                shift = (offset - (len(shown) - 1) / 2) * 0.8 / len(shown)
                places = [methods.index(row["method"]) + shift for row in of_name]
                found = [row["difference"] for row in of_name]
                for place, one in zip(places, found, strict=True):
                    if one["low"] is not None:
                        axes.plot([one["low"], one["high"]], [place] * 2, color=colour, linewidth=1)
                means = [one["mean"] for one in found]
                axes.plot(means, places, marker, color=colour, markersize=4, label=name)
            axes.set_yticks(range(len(methods)), methods)
            axes.invert_yaxis()
            axes.set_xlabel("difference of accuracy to none")
            axes.set_title(_name(setting))
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
            figure.set_layout_engine("constrained")
        caption = f"Differences of accuracy to none: {_name(setting)}"
        drawings.append(Drawing(_stem(setting), caption, figure))
    return drawings


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--json", type=Path, required=True, help="file of the figures")
    parser.add_argument("--page", type=Path, help="make this page of it")
    options = parser.parse_args(arguments)
    if options.runs:
        runs, left_out = find_runs(options.runs)
        for one in left_out:
            print(f"left out: {one.path}: {one.reason}", file=sys.stderr)
        if not runs:
            sys.exit("no finished run")
        rows = measure(runs)
        streams = list(dict.fromkeys(row["sequence"] for row in rows))
        origin = {name: list(told) for name, told in describe_origin(runs).items()}
        neighbours = {name: measure_neighbours(name) for name in streams}
        content = {"origin": _spell(origin), "neighbours": neighbours, "rows": rows}
        write_json(options.json, content)
    found = json.loads(options.json.read_text(encoding="utf-8"))
    for setting in _settings(found["rows"]):
        print(f"\n{_name(setting)}\n")
        print("\n".join(_table([row for row in found["rows"] if _setting(row) == setting])))
    if options.page is not None:
        write_file(options.page, make_page(found, options.page.stem).encode())
        write_drawings(options.page.with_suffix(""), draw(found["rows"]))
    return 0


def _spell(origin: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{name} {' and '.join(told)}" for name, told in origin.items())


if __name__ == "__main__":
    sys.exit(main())
