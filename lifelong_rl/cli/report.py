"""`lifelong-rl report`: a page about runs, to read on any screen and on paper."""

from __future__ import annotations

from dataclasses import dataclass

from lifelong_rl.cli.options import OptionalPath
from lifelong_rl.cli.reading import ReadingCommand
from lifelong_rl.errors import UserError

PRINTED = 6
"""Sentences on tasks that were not learned; the page has them all."""


@dataclass(frozen=True, kw_only=True)
class Report(ReadingCommand):
    """Write a page about runs: what was learned and forgotten, the figures, the cost.

    It shows the clips (.mp4, .gif, .png) that a run has in its folder `clips`, such as
    `lifelong-rl record --run-dir RUN_DIR --out RUN_DIR/clips` makes.

    Attributes:
        out: The page, which ends in .html; by default report.html in the only RUN_DIR.
        files: Write the figures (SVG and PNG) and the tables (CSV and LaTeX) into this folder.
    """

    out: OptionalPath = None
    files: OptionalPath = None

    PURPOSE = "report on"

    def __call__(self) -> int:
        """Write the page and the files, and print what the runs say."""
        from lifelong_rl.analysis.files import write_page, write_report_files
        from lifelong_rl.analysis.report import make_report
        from lifelong_rl.analysis.report_page import make_report_page
        from lifelong_rl.analysis.tables import name_section

        self.check()
        if self.out is None and len(self.run_dirs) > 1:
            raise UserError("say where the page about several folders goes: --out report.html")
        out = self.check_out(self.out or self.run_dirs[0] / "report.html", (".html",))
        if self.files is not None and self.files.is_file():
            raise UserError(f"{self.files} is a file; give a folder for --files")
        runs, left_out = self.read()
        report = make_report(runs, left_out, mix=self.mix, reps=self.reps, seed=self.seed)
        for section in report["sections"]:
            print(name_section(section))
            sentences = [*section["findings"], *section["unlearned"][:PRINTED]]
            print("".join(f"  {sentence}\n" for sentence in sentences))
        for note in report["settings"]["notes"]:
            print(f"note: {note}")
        for one in report["left_out"]:
            print(f"left out: {one['path']}: {one['reason']}")
        size = write_page(out, make_report_page(report))
        print(f"page:   {out} ({size / 1e6:.1f} MB)")
        if self.files is not None:
            print(f"files:  {write_report_files(self.files, report)} in {self.files}")
        return 0
