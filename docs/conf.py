"""How the documentation is built: `make docs`, pages in docs/_build/html."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from unittest import mock

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

from lifelong_rl import __version__  # noqa: E402
from lifelong_rl.cli.main import COMMANDS, help_text  # noqa: E402
from lifelong_rl.manual import TABLES, Manual, group_by_reason, read_manual, spell  # noqa: E402
from lifelong_rl.options import REQUIRED  # noqa: E402

project = "lifelong_rl"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples", "leaderboard/*", "results"]
html_theme = "furo"
html_title = project
autodoc_member_order = "bysource"
autodoc_typehints = "none"


def describe_commands() -> str:
    """The help of every command, as one page."""
    lines = ["# Commands", "", "```text", help_text(), "```", ""]
    for name, command in COMMANDS.items():
        box = io.StringIO()
        with (
            mock.patch.dict("os.environ", {"COLUMNS": "84", "NO_COLOR": "1"}),
            contextlib.redirect_stdout(box),
            contextlib.suppress(SystemExit),
        ):
            command.parse(name, ["--help"])
        lines += [f"## {name}", "", "```text", box.getvalue().strip(), "```", ""]
    return "\n".join(lines)


def describe_all(kind: str) -> str:
    """The manuals of everything of a kind, as one page."""
    lines = [f"# {kind.replace('-', ' ').capitalize()}", "", INTRODUCTIONS[kind], ""]
    for name in TABLES[kind]:
        lines += describe(read_manual(kind, name))
    return "\n".join(lines)


def describe(manual: Manual) -> list[str]:
    """The lines of one manual, in Markdown."""
    lines = [f"## {manual.name}", "", manual.text, ""]
    lines += [f"- {fact.capitalize()}: {value}." for fact, value in manual.facts]
    if manual.options:
        lines += ["", "| option | values | default | |", "|---|---|---|---|"]
        for option in manual.options:
            default = "" if option.default is REQUIRED else f"`{spell(option.default)}`"
            cells = [f"`{option.name}`", option.allowed, default, option.doc]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    if manual.references:
        lines += ["References:", "", *(f"- {reference}" for reference in manual.references), ""]
    if manual.partners:
        lines += ["Who goes with whom:", ""]
    for partners in manual.partners:
        lines.append(f"- Goes with the {partners.kind}: {', '.join(partners.fitting) or 'none'}.")
        for reason, names in group_by_reason(partners):
            lines.append(f"- Not with {', '.join(names)} ({reason}).")
    return [*lines, "", f"Defined in `{manual.module}`.", ""]


INTRODUCTIONS = {
    "agents": "Chosen by `--agent`; options are given by `--agent-options NAME=VALUE ...`. "
    "`lifelong-rl list sac` prints what stands here on a terminal.",
    "methods": "Chosen by `--method`, several joined by `+`; options are given by "
    "`--method-options NAME=VALUE ...`. `lifelong-rl list ewc` prints what stands here on a "
    "terminal, `lifelong-rl list methods` which methods work with which agents.\n\n"
    "Methods that learn a world model and plan or train in it are not among them, for now. They "
    "would take a model of the next observation and reward as a component beside actor and critic, "
    "with predictions that methods can protect like those of any other; learners that roll it out "
    "and learn from what it imagines; the sequence's evaluation of the model beside that of the "
    "policy; and a supervised twin that learns the same model from recorded steps.",
    "unlabelled-objectives": "What rows without labels teach the agent `semi-supervised`: "
    '`--agent-options objective=NAME objective_options="{OPTION: VALUE, ...}"`; see '
    "[few labels](few_labels.md).",
    "objectives": "What encoders are pretrained by: `lifelong-rl pretrain --objective NAME`; "
    "options are given by `--options NAME=VALUE ...`.",
    "encoder-methods": "Against forgetting in an encoder that learns one task after another: "
    "`lifelong-rl pretrain --method NAME`; options are given by `--method-options NAME=VALUE ...`.",
}
"""First paragraphs of the pages that are written from the source, by kind."""

(DOCS / "commands.md").write_text(describe_commands(), encoding="utf-8")
for kind in INTRODUCTIONS:
    (DOCS / f"{kind.replace('-', '_')}.md").write_text(describe_all(kind), encoding="utf-8")
