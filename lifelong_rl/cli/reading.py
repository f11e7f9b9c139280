"""What the commands have in common that read finished runs: `compare` and `report`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from lifelong_rl.cli.options import Command, Repeated
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import Count, Seed

if TYPE_CHECKING:
    from lifelong_rl.analysis.runs import LeftOut, Run


@dataclass(frozen=True, kw_only=True)
class ReadingCommand(Command):
    """Base of the commands that read finished runs.

    Attributes:
        run_dirs: Folders of runs, or folders that hold some at any depth.
        overwrite: Replace what is there.
        mix: Put runs together although they differ in this: mujoco (its version), tasks (their
            versions) or budget. May be given several times.
        reps: Resamples of the bootstrap.
        seed: Decides the resamples.
    """

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    overwrite: bool = False
    mix: Repeated = ()
    reps: Count = 5000
    seed: Seed = 0

    PURPOSE: ClassVar[str]
    """What is done with the runs, in words that come after "to"."""

    def check(self) -> None:
        """Raise UserError for an option that is out of range."""
        from lifelong_rl.analysis.groups import MIXABLE

        for kind in self.mix:
            if kind not in MIXABLE:
                raise UnknownNameError("kind of mixture", kind, MIXABLE, see="")
        if not self.run_dirs:
            name = type(self).__name__.lower()
            raise UserError(f"say what to {self.PURPOSE}: lifelong-rl {name} RUN_DIR …")

    def check_out(self, out: Path, endings: tuple[str, ...]) -> Path:
        """Raise UserError unless this file may be written."""
        if out.suffix not in endings:
            raise UserError(f"--out must end in {', '.join(endings)}, not '{out}'")
        if out.is_dir():
            raise UserError(f"{out} is a folder; choose another --out")
        if out.exists() and not self.overwrite:
            raise UserError(f"{out} is there already; add --overwrite, or choose another --out")
        return out

    def read(self) -> tuple[list[Run], list[LeftOut]]:
        """The runs, at least one, and what is left out.

        Raises:
            UserError: There is none.
        """
        from lifelong_rl.analysis.runs import find_runs

        runs, left_out = find_runs(self.run_dirs)
        if not runs:
            first, *more = left_out
            raise UserError(
                f"there is nothing to {self.PURPOSE}: {first.path}: {first.reason}"
                + f" (and {len(more)} more left out)" * bool(more)
            )
        return runs, left_out
