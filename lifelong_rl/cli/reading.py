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

FILTERS = ("sequence", "agent", "method")
"""Options, and what they choose runs by."""


@dataclass(frozen=True, kw_only=True)
class ReadingCommand(Command):
    """Base of the commands that read finished runs.

    Attributes:
        run_dirs: Folders of runs, or folders that hold some at any depth.
        overwrite: Replace what is there.
        sequence: Only runs of this sequence. May be given several times.
        agent: Only runs of this agent. May be given several times.
        method: Only runs with this method. May be given several times.
        mix: Put runs of a sequence into one section although they differ in this: mujoco (its
            version), tasks (their versions) or budget. May be given several times.
        reps: Resamples of the bootstrap.
        seed: Decides the resamples.
    """

    run_dirs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    overwrite: bool = False
    sequence: Repeated = ()
    agent: Repeated = ()
    method: Repeated = ()
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
        """The runs that are asked for, at least one, and what is left out.

        Raises:
            UserError: There is none.
            UnknownNameError: None of them is of a sequence, an agent or a method that is named.
        """
        from lifelong_rl.analysis.runs import find_runs

        runs, left_out = find_runs(self.run_dirs)
        if not runs:
            first, *more = left_out
            raise UserError(
                f"there is nothing to {self.PURPOSE}: {first.path}: {first.reason}"
                + f" (and {len(more)} more left out)" * bool(more)
            )
        for kind in FILTERS:
            known = {getattr(run, kind) for run in runs}
            for name in getattr(self, kind):
                if name not in known:
                    raise UnknownNameError(f"{kind} of these runs", name, known, see="")
        chosen = [run for run in runs if all(self._wants(kind, run) for kind in FILTERS)]
        if not chosen:
            told = " ".join(f"--{kind} {name}" for kind in FILTERS for name in getattr(self, kind))
            raise UserError(f"there is nothing to {self.PURPOSE}: no run has all of {told}")
        return chosen, left_out

    def _wants(self, kind: str, run: Run) -> bool:
        wanted = getattr(self, kind)
        return not wanted or getattr(run, kind) in wanted
