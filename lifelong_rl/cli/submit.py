"""`lifelong-rl submit`: a row of the leaderboard from runs that follow a protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lifelong_rl.cli.options import Command, Repeated, RepeatedPath
from lifelong_rl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Submit(Command):
    """Check runs against their protocol, and write their rows of the leaderboard.

    Attributes:
        run_dirs: Folders of runs, or folders that hold some at any depth.
        out: Folder that the rows are written into, or a file that ends in .json for a single one.
        tuning: Folder of the tuning that tuned options are from. May be given several times.
        overwrite: Replace what is there.
        plugin: Module to import first, which has the method. May be given several times.
    """

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    out: Path = Path("docs/leaderboard")
    tuning: RepeatedPath = ()
    overwrite: bool = False
    plugin: Repeated = ()

    def __call__(self) -> int:
        """Check the runs and write their rows, or print all that stands in the way."""
        from lifelong_rl.analysis.rows import write_row
        from lifelong_rl.analysis.submission import make_rows, read_trials
        from lifelong_rl.registry import load_plugins
        from lifelong_rl.storage.atomic import writing
        from lifelong_rl.studies.tune import TRIALS

        if not self.run_dirs:
            raise UserError("say what to submit: lifelong-rl submit RUN_DIR …")
        load_plugins(self.plugin)
        tunings = [read_trials(folder / TRIALS) for folder in self.tuning]
        rows, problems = make_rows(self.run_dirs, tunings)
        if problems:
            print("\n".join(problems))
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise UserError(f"no row was written, for {count}; see what is printed")
        single = self.out.suffix == ".json"
        if single and len(rows) > 1:
            raise UserError(f"these runs make {len(rows)} rows; give a folder for --out")
        outs = [self.out if single else self.out / f"{row.name}.json" for row in rows]
        for out in outs:
            if out.exists() and not self.overwrite:
                raise UserError(f"{out} is there already; add --overwrite, or choose another --out")
        for row, out in zip(rows, outs, strict=True):
            with writing(out.parent):
                out.parent.mkdir(parents=True, exist_ok=True)
            write_row(out, row)
            print(f"{out}: {row.method} on {row.track}, {row.options}, {len(row.runs)} seeds")
        return 0
