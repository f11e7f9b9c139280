"""`lifelong-rl sweep`: run all that a study asks for."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from lifelong_rl.cli.cells import CellCommand
from lifelong_rl.errors import UserError
from lifelong_rl.runs.endings import RunStopped, raise_when_stopped, stopping_exit_code
from lifelong_rl.text import quote

if TYPE_CHECKING:
    from lifelong_rl.studies.study import Study
    from lifelong_rl.studies.sweep import SweepLoop


@dataclass(frozen=True, kw_only=True)
class Sweep(CellCommand):
    """Run a study: every sequence, agent, method and seed of a file, several at a time.

    Cells that are finished are skipped, those that were stopped go on, and those that failed are
    tried again.

    Attributes:
        study: YAML file with lists of sequences, agents, methods and seeds, and options of runs;
            such as studies/first_study.yaml.
        shard: Only every N-th cell, beginning with the I-th; for several sweeps at once.
        print_commands: Only print a command for each cell that is to do, for another scheduler.
        watch: Run nothing: show how the cells stand that other processes run, and why some failed,
            until all have come to an end.
        dry_run: Only list the cells, how they stand and how long they may take.
        quiet: Print only the summary at the end.
    """

    study: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")]
    shard: Annotated[str | None, tyro.conf.arg(metavar="I/N")] = None
    print_commands: bool = False
    watch: bool = False
    dry_run: bool = False
    quiet: bool = False

    def __call__(self) -> int:
        """Run what is to do, or watch, and print the summary; 1 if a cell failed."""
        import torch

        from lifelong_rl.cli.sweep_progress import (
            LineReporter,
            TableReporter,
            count_states,
            explain_states,
            format_left,
            list_cells,
            watch,
        )
        from lifelong_rl.studies.study import read_study
        from lifelong_rl.studies.sweep import CELL, SweepLoop, SweepReporter

        index, number = self._find_shard()
        self.refuse_options_of_others()
        if self.print_commands and self.executor != "local":
            raise UserError(
                "--print-commands is for schedulers that no executor knows; leave --executor out"
            )
        torch.set_num_threads(1)  # the little that is done here is no faster with more
        study = read_study(self.study, self.runs, self.plugin)
        command = [*CELL, *self.words("plugin")]
        executor = self.make_executor(study.runs)
        loop = SweepLoop(study.cells[index - 1 :: number], command, executor)
        if self.executor == "local":
            self._refuse_contradictions(executor.gpus)
        if self.watch:
            watch(loop, study.runs)
            return 1 if loop.entries_in("failed") else 0
        if self.print_commands:
            print(self._commands(loop, study), end="")
            return 0
        if self.dry_run:
            print(list_cells(loop), end="\n\n")
        if self.dry_run or not self.quiet:
            print(f"{count_states(loop, study.runs)}; {executor}")
            print(explain_states(loop), end="", flush=True)
        if self.dry_run:
            print(f"time left: {format_left(loop.seconds_left())}")
            return 0
        lively = TableReporter if sys.stdout.isatty() else LineReporter
        try:
            with raise_when_stopped():
                loop.run(SweepReporter() if self.quiet else lively())
        except KeyboardInterrupt as error:
            raise RunStopped(
                f"stopped; {count_states(loop, study.runs)}; go on with: {self._again()}",
                stopping_exit_code(error),
            ) from error
        print(count_states(loop, study.runs))
        print(explain_states(loop), end="")
        if loop.entries_in("failed"):
            print(f"try again: {self._again()}")
            return 1
        print(f"compare: lifelong-rl compare {quote(study.runs)}")
        return 0

    def _find_shard(self) -> tuple[int, int]:
        """Which of how many parts of the cells are run.

        Raises:
            UserError: It is not written so.
        """
        if self.shard is None:
            return 1, 1
        found = re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", self.shard, re.ASCII)
        if found is None or int(found[1]) > int(found[2]):
            raise UserError(f"--shard must be I/N, such as 1/4 to 4/4, not '{self.shard}'")
        if self.print_commands:
            raise UserError("--print-commands prints those of all cells; leave --shard out")
        return int(found[1]), int(found[2])

    def _commands(self, loop: SweepLoop, study: Study) -> str:
        """A line for each cell that is to do: the shard of the study that is this cell."""
        words = ["lifelong-rl", "sweep", str(self.study.absolute())]
        words += ["--runs", str(study.runs.absolute()), *self.words("device")]
        words += [*self.words("plugin"), "--processes", "1", "--shard"]
        return "".join(
            shlex.join([*words, f"{number}/{len(loop.entries)}"]) + "\n"
            for number, entry in enumerate(loop.entries, 1)
            if entry.state not in ("finished", "left out")
        )

    def _refuse_contradictions(self, gpus: Sequence[str]) -> None:
        """Raise UserError for numbers of cells of which one could never be reached."""
        if self.per_device is None:
            return
        if not gpus:
            raise UserError(
                "--per-device is for cells on a GPU, and all of these learn on the CPU; give "
                "--processes, or --device cuda"
            )
        together = self.per_device * len(gpus)
        if self.processes is not None and together > self.processes:
            raise UserError(
                f"--per-device {self.per_device} on {', '.join(gpus)} is {together} cells at a "
                f"time, and --processes allows {self.processes}; leave one of them out"
            )

    def _again(self) -> str:
        """The command that goes on with this."""
        words = ["lifelong-rl", "sweep", str(self.study), *self.words_of_executor()]
        if self.shard is not None:
            words += ["--shard", self.shard]
        return shlex.join([*words, *self.words("plugin")])
