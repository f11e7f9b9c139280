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

project = "lifelong_rl"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "examples", "results"]
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


(DOCS / "commands.md").write_text(describe_commands(), encoding="utf-8")
