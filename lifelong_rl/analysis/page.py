"""A comparison as one page of HTML that needs nothing from anywhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from lifelong_rl.analysis.figures import Drawing, draw
from lifelong_rl.analysis.tables import Table, describe_section, make_tables, name_section

INK = "#010203"
"""Stands in the figures for the page's colour of text, which is light in dark mode."""
CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #6a737d;
  --line: #d8dee4; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --soft: #9198a1;
  --line: #30363d; --card: #161b22; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin-bottom: 0.4rem; }
.soft { color: var(--soft); font-size: 0.9rem; } ul { padding-left: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.7rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); }
.figures { display: grid; gap: 1rem; align-items: start; margin-top: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); }
figure { margin: 0; padding: 0.6rem; background: var(--card); border-radius: 0.5rem;
  max-width: 34rem; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: 0.85rem; margin-top: 0.4rem; }
code { overflow-wrap: anywhere; }
@page { margin: 1.5cm; }
@media print {
  :root { color-scheme: light; --ink: #000000; --paper: #ffffff; --soft: #444444;
    --line: #bbbbbb; --card: #ffffff; }
  body { max-width: none; padding: 0; font-size: 0.8rem; }
  .scroll { overflow: visible; } tr, figure { break-inside: avoid; } h2, h3 { break-after: avoid; }
  th, td { padding: 0.15rem 0.4rem; }
}
"""
READING = (
    ("learned", "success right after learning a task, mean over tasks"),
    ("average", "success on all tasks at the end"),
    (
        "forgetting",
        "success right after learning a task less that at the end; the last task counts, with 0",
    ),
    (
        "retention",
        "the part of it that is left at the end, of each task before the last that was learned at "
        "all: a regime that learns less does not seem to forget less",
    ),
    (
        "transfer",
        "how much faster a task is learned than alone (areas under the success curves), or, "
        "without single-task runs, success on tasks not yet begun less that before any training",
    ),
    (
        "gap",
        "the second regime less the first; retention there is of the tasks that both learned, and "
        "P the probability that a run of the second forgets more, mean over tasks before the last",
    ),
    ("update time", "of one update, over that of plain fine-tuning on the same data"),
)


def make_comparison_page(comparison: Mapping[str, Any]) -> str:
    """The page, which refers to nothing outside itself."""
    settings = comparison["settings"]
    runs = sum(len(group["runs"]) for s in comparison["sections"] for group in s["groups"])
    body = [
        "<h1>What was forgotten, by method and regime</h1>",
        f'<p class="soft">{runs} runs. Interquartile means over runs and tasks, in brackets '
        f"{100 * settings['interval']:.0f} % intervals of a bootstrap stratified by task "
        f"({settings['reps']} resamples, seed {settings['seed']}).</p>",
        render_list(settings["notes"]),
    ]
    for number, section in enumerate(comparison["sections"]):
        body += _section(section, number)
    body += render_end(comparison["left_out"])
    return render_document("lifelong-rl compare", body)


def render_end(left_out: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """How to read a page, and what was left out of it."""
    yield from ("<h2>How to read this</h2>", "<ul>")
    yield from (f"<li><b>{name}</b>: {escape(meaning)}</li>" for name, meaning in READING)
    yield "</ul>"
    left = [f"{one['path']}: {one['reason']}" for one in left_out]
    if left:
        yield from ('<h2 id="left-out">Left out</h2>', render_list(left))


def render_document(title: str, body: Iterable[str], *, head: str = "") -> str:
    """A document of HTML with the style of all pages.

    Args:
        title: Of the window.
        body: The parts of it.
        head: What else belongs into the head.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n{head}</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _section(section: Mapping[str, Any], number: int) -> Iterator[str]:
    yield f"<h2>{escape(name_section(section))}</h2>"
    yield render_list(describe_section(section))
    yield render_list(section["notes"])
    for table in make_tables(section):
        yield render_table(table)
    yield '<div class="figures">'
    for count, drawing in enumerate(draw(section, ink=INK)):
        yield _figure(drawing, f"s{number}f{count}-")
    yield "</div>"


def render_table(table: Table) -> str:
    """A table under its title; it scrolls where the window is narrow."""

    def row(tag: str, cells: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "\n".join(
        [
            f"<h3>{escape(table.title)}</h3>",
            '<div class="scroll"><table>',
            row("th", table.header),
            *(row("td", cells) for cells in table.rows),
            "</table></div>",
        ]
    )


def _figure(drawing: Drawing, prefix: str) -> str:
    """The figure inside the page: its text has the page's colour, its names are its own."""
    svg = drawing.render("svg", background="none").decode()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="|(?<=href="#)|(?<=url\(#)', lambda found: found[0] + prefix, svg)
    caption = escape(drawing.caption)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{caption}"', 1)
    return f"<figure>\n{svg}<figcaption>{caption}</figcaption>\n</figure>"


def render_list(lines: Iterable[str]) -> str:
    """A list in small print; nothing without lines."""
    entries = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="soft">{entries}</ul>' if entries else ""
