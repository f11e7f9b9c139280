"""`lifelong-rl compare`: what was forgotten, by method and regime."""

from __future__ import annotations

from dataclasses import dataclass

from lifelong_rl.cli.options import OptionalPath, RepeatedPath
from lifelong_rl.cli.reading import ReadingCommand
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

    out: RepeatedPath = ()
    figures: OptionalPath = None

    PURPOSE = "compare"

    def __call__(self) -> int:
        """Compare, print the tables and write the files."""
        from lifelong_rl.analysis.comparison import compare
        from lifelong_rl.analysis.files import write_comparison, write_drawings
        from lifelong_rl.analysis.tables import format_comparison

        self.check()
        outs = [self.check_out(out, ENDINGS) for out in self.out]
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
