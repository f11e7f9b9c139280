"""`lifelong-rl compare`: what was forgotten, by method and regime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from lifelong_rl.cli.options import Command, OptionalPath, Repeated
from lifelong_rl.errors import UnknownNameError, UserError

ENDINGS = (".html", ".json", ".csv")


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Compare runs: forgetting, retention, transfer and cost by method and regime.

    Attributes:
        run_dirs: Folders of runs, or folders that hold some at any depth.
        out: Write the comparison here too; the ending decides what: .html (a page), .json or
            .csv. May be given several times.
        figures: Write the figures into this folder, as SVG and PNG.
        overwrite: Replace what is there.
        mix: Compare runs although they differ in this: mujoco (its version), tasks (their
            versions) or budget. May be given several times.
        reps: Resamples of the bootstrap.
        seed: Decides the resamples.
    """

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    out: Repeated = ()
    figures: OptionalPath = None
    overwrite: bool = False
    mix: Repeated = ()
    reps: int = 5000
    seed: int = 0

    def __call__(self) -> int:
        """Compare, print the tables and write the files."""
        from lifelong_rl.analysis.comparison import compare
        from lifelong_rl.analysis.runs import MIXABLE, find_runs

        for name, least in (("reps", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be at least {least}, not {getattr(self, name)}")
        for kind in self.mix:
            if kind not in MIXABLE:
                raise UnknownNameError("kind of mixture", kind, MIXABLE, see="")
        if not self.run_dirs:
            raise UserError("say what to compare: lifelong-rl compare RUN_DIR …")
        outs = [self._check_out(Path(out)) for out in self.out]
        if self.figures is not None and self.figures.is_file():
            raise UserError(f"{self.figures} is a file; give a folder for --figures")
        runs, left_out = find_runs(self.run_dirs)
        if not runs:
            first, *more = left_out
            raise UserError(
                f"there is nothing to compare: {first.path}: {first.reason}"
                + f" (and {len(more)} more left out)" * bool(more)
            )
        comparison = compare(runs, left_out, mix=self.mix, reps=self.reps, seed=self.seed)
        print(format_comparison(comparison))
        for out in outs:
            write_comparison(out, comparison)
            print(f"{out.suffix[1:]}:  {out}")
        if self.figures is not None:
            print(f"figures:  {write_figures(self.figures, comparison)} in {self.figures}")
        return 0

    def _check_out(self, out: Path) -> Path:
        if out.suffix not in ENDINGS:
            raise UserError(f"--out must end in {', '.join(ENDINGS)}, not '{out}'")
        if out.exists() and not self.overwrite:
            raise UserError(f"{out} is there already; add --overwrite, or choose another --out")
        return out


def format_comparison(comparison: Mapping[str, Any]) -> str:
    """The tables as text."""
    from lifelong_rl.analysis.tables import describe_section, make_tables, name_section
    from lifelong_rl.cli.summary import format_table

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
    from lifelong_rl.benchmark.atomic import write_file, write_json, writing

    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".json":
        write_json(out, comparison)
    elif out.suffix == ".csv":
        write_file(out, format_csv(comparison).encode())
    else:
        from lifelong_rl.analysis.page import make_page

        write_file(out, make_page(comparison).encode())


def write_figures(folder: Path, comparison: Mapping[str, Any]) -> int:
    """Write every figure as SVG and PNG, in place of those of the same name.

    Returns:
        How many there are.
    """
    from lifelong_rl.analysis.figures import draw
    from lifelong_rl.benchmark.atomic import write_file, writing

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    drawings = [drawing for section in comparison["sections"] for drawing in draw(section)]
    for drawing in drawings:
        for kind in ("svg", "png"):
            write_file(folder / f"{drawing.name}.{kind}", drawing.render(kind))
    return len(drawings)
