"""`lifelong-rl compare`: what was forgotten, by method and regime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifelong_rl.cli.options import OptionalPath, Repeated
from lifelong_rl.cli.reading import ReadingCommand, write_drawings
from lifelong_rl.errors import UserError

ENDINGS = (".html", ".json", ".csv")


@dataclass(frozen=True, kw_only=True)
class Compare(ReadingCommand):
    """Compare runs: forgetting, retention, transfer and cost by method and regime.

    Attributes:
        out: Write the comparison here too; the ending decides what: .html (a page), .json or
            .csv. May be given several times.
        figures: Write the figures into this folder, as SVG and PNG.
    """

    out: Repeated = ()
    figures: OptionalPath = None

    PURPOSE = "compare"

    def __call__(self) -> int:
        """Compare, print the tables and write the files."""
        from lifelong_rl.analysis.comparison import compare

        self.check()
        outs = [self.check_out(Path(out), ENDINGS) for out in self.out]
        if self.figures is not None and self.figures.is_file():
            raise UserError(f"{self.figures} is a file; give a folder for --figures")
        runs, left_out = self.read()
        comparison = compare(runs, left_out, mix=self.mix, reps=self.reps, seed=self.seed)
        print(format_comparison(comparison))
        for out in outs:
            write_comparison(out, comparison)
            print(f"{out.suffix[1:]}:  {out}")
        if self.figures is not None:
            from lifelong_rl.analysis.figures import draw

            drawings = [d for section in comparison["sections"] for d in draw(section)]
            write_drawings(self.figures, drawings)
            print(f"figures:  {len(drawings)} in {self.figures}")
        return 0


def format_comparison(comparison: Mapping[str, Any]) -> str:
    """The tables as text."""
    from lifelong_rl.analysis.tables import describe_section, make_tables, name_section
    from lifelong_rl.text import format_table

    lines = []
    for section in comparison["sections"]:
        lines += [name_section(section), *(f"  {line}" for line in describe_section(section)), ""]
        for table in make_tables(section):
            lines += [table.title + ":", format_table(table.header, table.rows), ""]
        lines += [f"note: {note}" for note in section["notes"]] + [""] * bool(section["notes"])
    lines += [f"note: {note}" for note in comparison["settings"]["notes"]]
    left_out = [f"left out: {one['path']}: {one['reason']}" for one in comparison["left_out"]]
    return "\n".join(lines + left_out).rstrip()


def write_comparison(out: Path, comparison: Mapping[str, Any]) -> None:
    """Write a page, JSON or CSV.

    Raises:
        WriteError: The disk refused.
    """
    from lifelong_rl.analysis.tables import format_csv
    from lifelong_rl.storage.atomic import write_file, write_json, writing

    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".json":
        write_json(out, comparison)
    elif out.suffix == ".csv":
        write_file(out, format_csv(comparison).encode())
    else:
        from lifelong_rl.analysis.page import make_page

        write_file(out, make_page(comparison).encode())
