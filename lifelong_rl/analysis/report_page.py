"""A report as one page of HTML that needs nothing from anywhere else.

The text and the tables are in the page as they are; the figures are drawn by `report_page.js`
with plotly.js, both of which are inside it, from the report as JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from lifelong_rl.analysis.figures import COLOURS, PALETTE, file_name
from lifelong_rl.analysis.page import render_document, render_end, render_list, render_table
from lifelong_rl.analysis.regimes import REGIMES
from lifelong_rl.analysis.tables import (
    STATISTIC_NAMES,
    Table,
    describe_section,
    make_report_tables,
    make_tables,
    name_section,
)
from lifelong_rl.analysis.unlearned import READING
from lifelong_rl.storage.plain_file import NotPlainError, read_bytes, refuse_link

SCORES = {
    "average_performance": "average performance",
    "learned_performance": "success right after learning",
    "forgetting": "forgetting",
    "retention": "retention",
    "forward_transfer": "forward transfer",
    "forward_transfer_auc": "forward transfer (areas)",
    "plasticity": "plasticity",
}
"""What the figures may show of a group, and what it is called."""
COSTS = {
    "update_ratio": "time of an update, over plain fine-tuning's",
    "learn_seconds": "seconds to learn a task",
    "memory_bytes": "memory of old tasks, in bytes",
    "extra_parameters": "more parameters than fine-tuning",
    "parameters": "parameters",
}
HELD_AS_TEXT = ("clips", "findings", "unlearned")
"""Of a section, what the figures do not need."""
OPEN = 6
"""Sentences on tasks that were not learned that are shown unfolded; where there are more, none."""
CLIP_BYTES = 3_000_000
"""Of clips in a page; those after are named instead. In the page they take a third more."""
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data:"
)
"""What keeps the browser from asking anything of the network."""


def make_report_page(report: Mapping[str, Any]) -> str:
    """The page, which refers to nothing outside itself."""
    sections = report["sections"]
    room = CLIP_BYTES
    body = [*_head(report)]
    for number, section in enumerate(sections):
        body += _section(section, number)
        clips, room = _clips(section["clips"], room)
        body += clips
        body += _commands(section)
    body += ["<h2>Made with</h2>", render_list(_origin(report["origin"]))]
    body += render_end(report["left_out"])
    data = {
        "sections": [
            {key: value for key, value in section.items() if key not in HELD_AS_TEXT}
            for section in sections
        ],
        "scores": SCORES,
        "costs": COSTS,
        "statistics": STATISTIC_NAMES,
        "palette": PALETTE,
        "regime_colours": COLOURS,
    }
    # in a script, "</script>" would end it and "<!--<script>" keep it from ending
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    body += [
        f'<script type="application/json" id="report">{text}</script>',
        f"<script>{_plotly()}</script>",
        f"<script>{_source('report_page.js')}</script>",
    ]
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<style>{_source('report_page.css')}</style>\n"
    )
    return render_document("lifelong-rl report", body, head=head)


@cache
def _plotly() -> str:
    """The source of plotly.js."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _source(name: str) -> str:
    return files("lifelong_rl.analysis").joinpath(name).read_text(encoding="utf-8")


def _head(report: Mapping[str, Any]) -> Iterator[str]:
    sections, settings = report["sections"], report["settings"]
    level = f"{100 * settings['interval']:.0f} %"
    runs = sum(len(group["runs"]) for section in sections for group in section["groups"])
    yield "<h1>What was learned, and what was forgotten</h1>"
    yield (
        f'<p class="soft">{runs} run{"s" * (runs != 1)}. Means and interquartile means are over '
        f"runs and tasks; in brackets are {level} intervals of a bootstrap stratified by task "
        f"({settings['reps']} resamples, seed {settings['seed']}), where there "
        f"are {settings['minimum_runs']} runs or more.</p>"
    )
    if report["left_out"]:
        count = len(report["left_out"])
        what = "1 folder was" if count == 1 else f"{count} folders were"
        yield f'<p><a href="#left-out">{what} left out</a>, each for a reason.</p>'
    if len(sections) > 1:
        links = (
            f'<a href="#s{number}">{escape(name_section(section))}</a>'
            for number, section in enumerate(sections)
        )
        yield f"<nav>{' · '.join(links)}</nav>"
    yield render_list(settings["notes"])
    yield "<noscript><p>The figures need JavaScript; the text and tables do not.</p></noscript>"


def _section(section: Mapping[str, Any], number: int) -> Iterator[str]:
    yield f'<h2 id="s{number}">{escape(name_section(section))}</h2>'
    yield '<ul class="findings">'
    yield from (f"<li>{escape(sentence)}</li>" for sentence in section["findings"])
    yield "</ul>"
    yield from _unlearned(section["unlearned"])
    yield render_list([*describe_section(section), *section["notes"]])
    yield f'<div class="controls section" data-section="{number}"></div>'
    yield '<div class="figures">'
    for kind, title, caption in _plots(section):
        yield (
            f'<figure class="plot" data-kind="{kind}" data-section="{number}">'
            f'<h3>{escape(title)}</h3><div class="controls"></div>'
            f'<div class="chart" role="img" aria-label="{escape(title)}"></div>'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    yield "</div>"
    shown = len(make_tables(section))
    tables = [_table(table, section) for table in make_report_tables(section)]
    yield from tables[:shown]
    yield f"<details><summary>The matrices, and every run</summary>{''.join(tables[shown:])}"
    yield "</details>"


def _unlearned(sentences: Sequence[str]) -> Iterator[str]:
    """What moved while tasks were not learned, and how to read that."""
    if not sentences:
        return
    opened = " open" if len(sentences) <= OPEN else ""
    yield f"<details{opened}><summary>Tasks that were not learned, and what moved</summary>"
    yield '<ul class="unlearned">'
    yield from (f"<li>{escape(sentence)}</li>" for sentence in sentences)
    yield f'</ul><p class="soft">{escape(READING)}</p></details>'


def _plots(section: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The figures of a section: kind, title and caption."""
    several = len(section["groups"]) > 1
    yield (
        "matrix",
        "Performance matrix",
        "Success on each task (row) before learning, and after learning each task (column).",
    )
    yield (
        "curves",
        "Success over the sequence",
        "Mean over runs with pointwise 95 % intervals; a dotted line where the task changes.",
    )
    yield (
        "bars",
        "Scores by method" if several else "Scores by task",
        "With 95 % intervals. The tasks' own values are shown where only one method is."
        if several
        else "The last task cannot be forgotten, and the first has nothing to gain from.",
    )
    if several:
        yield "by-task", "Scores by method and task", "Mean over runs."
        yield (
            "profiles",
            "Performance profiles",
            "Share of runs and tasks with a score above each threshold, with 95 % intervals.",
        )
    if section["improvement"]:
        yield (
            "improvement",
            "Probability of improvement",
            "How probably a run with the method of the row is better than one with that of the "
            "column, mean over tasks; 0.5 tells nothing.",
        )
    if section["gaps"]:
        kinds = {REGIMES[r["agent"]].kind for r in section["regimes"] if r["agent"] in REGIMES}
        yield (
            "gap",
            " against ".join(sorted(kinds, reverse=True)).capitalize()
            if len(kinds) > 1
            else "Regime against regime",
            "The same methods in two regimes, with 95 % intervals; on the diagonal both are equal.",
        )
    yield "cost", "Cost", "Mean over runs and tasks."


def _table(table: Table, section: Mapping[str, Any]) -> str:
    name = file_name(section, table.name)
    links = (
        f'<a download="{name}.{ending}" href="{_data_uri(kind, text.encode())}">{what}</a>'
        for what, ending, kind, text in (
            ("CSV", "csv", "text/csv", table.as_csv()),
            ("LaTeX", "tex", "text/plain", table.as_latex()),
        )
    )
    return f'{render_table(table)}\n<p class="soft downloads">{" · ".join(links)}</p>'


def _clips(clips: Iterable[Mapping[str, str]], room: int) -> tuple[list[str], int]:
    """The clips for which there is room, and the room that is left."""
    shown, named = [], []
    for clip in clips:
        path = Path(clip["path"])
        try:
            refuse_link(path.parent)  # a page is passed on: nothing from elsewhere may get into it
            refuse_link(path)
            content = read_bytes(path)
        except OSError as error:
            named.append(f"{path} cannot be read: {error.strerror}")
            continue
        except NotPlainError as error:
            named.append(str(error))
            continue
        if len(content) > room:
            named.append(f"{clip['path']} ({len(content) / 1e6:.1f} MB) does not fit into a page")
            continue
        room -= len(content)
        source = _data_uri(clip["kind"], content)
        title = escape(clip["title"])
        media = (
            f'<video controls muted loop playsinline src="{source}"></video>'
            if clip["kind"].startswith("video/")
            else f'<img alt="{title}" src="{source}">'
        )
        shown.append(f"<figure>{media}<figcaption>{title}</figcaption></figure>")
    if not shown and not named:
        return [], room
    return [
        "<h3>What it has learned</h3>",
        '<div class="figures clips">',
        *shown,
        "</div>",
        render_list(named),
    ], room


def _commands(section: Mapping[str, Any]) -> Iterator[str]:
    yield "<details><summary>Commands that make these runs again</summary>"
    for group in section["groups"]:
        title = f"{group['agent_label']} with {group['method_label']}"
        yield f"<h3>{escape(title)}</h3><pre><code>{escape(group['command'])}</code></pre>"
    yield "</details>"


def _origin(origin: Mapping[str, Iterable[str]]) -> list[str]:
    return [f"{name}: {', '.join(values)}" for name, values in origin.items()]


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
