"""Writing what the analysis makes: pages, figures and tables.

Figures and pages import matplotlib, which takes a second, so they are imported where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong_rl.analysis.tables import format_csv, make_report_tables
from lifelong_rl.storage.atomic import write_file, write_json, writing

if TYPE_CHECKING:
    from lifelong_rl.analysis.figures import Drawing


def write_page(out: Path, page: str) -> int:
    """Write a page.

    Returns:
        Its size in bytes.

    Raises:
        WriteError: The disk refused.
    """
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    content = page.encode()
    write_file(out, content)
    return len(content)


def write_comparison(out: Path, comparison: Mapping[str, Any]) -> None:
    """Write a comparison as the ending of `out` says: .json, .csv or .html, a page.

    Raises:
        WriteError: The disk refused.
    """
    if out.suffix == ".html":
        from lifelong_rl.analysis.page import make_comparison_page

        write_page(out, make_comparison_page(comparison))
        return
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".json":
        write_json(out, comparison)
    else:
        write_file(out, format_csv(comparison).encode())


def write_drawings(folder: Path, drawings: Sequence[Drawing]) -> None:
    """Write figures as SVG and PNG, in place of those of the same name.

    Raises:
        WriteError: The disk refused.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for drawing in drawings:
        for kind in ("svg", "png"):
            write_file(folder / f"{drawing.name}.{kind}", drawing.render(kind))


def write_report_files(folder: Path, report: Mapping[str, Any]) -> int:
    """Write every figure of a report as SVG and PNG, and every table as CSV and LaTeX.

    Returns:
        How many files there are.

    Raises:
        WriteError: The disk refused.
    """
    from lifelong_rl.analysis.figures import file_name
    from lifelong_rl.analysis.report_figures import draw_report

    count = 0
    for section in report["sections"]:
        drawings, tables = draw_report(section), make_report_tables(section)
        write_drawings(folder, drawings)
        for table in tables:
            name = file_name(section, table.name)
            write_file(folder / f"{name}.csv", table.as_csv().encode())
            write_file(folder / f"{name}.tex", table.as_latex().encode())
        count += 2 * (len(drawings) + len(tables))
    return count
