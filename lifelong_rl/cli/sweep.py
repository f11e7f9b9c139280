"""`lifelong-rl sweep`: run all that a study asks for."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from lifelong_rl.cli.options import Command, Number, OptionalPath, Repeated
from lifelong_rl.errors import UserError
from lifelong_rl.options import Count, check_options
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.endings import RunStopped, raise_when_stopped, stopping_exit_code
from lifelong_rl.text import quote

if TYPE_CHECKING:
    from lifelong_rl.studies.sweep import SweepLoop


@dataclass(frozen=True, kw_only=True)
class Sweep(Command):
    """Run a study: every sequence, agent, method and seed of a file, several at a time.

    Cells that are finished are skipped, those that were stopped go on, and those that failed are
    tried again.

    Attributes:
        study: YAML file with lists of sequences, agents, methods and seeds, and options of runs;
            such as studies/first_study.yaml.
        runs: Folder of the cells, each a run in SEQUENCE[-orderM]-AGENT-METHOD-seedN; by default
            what the file says.
        processes: Cells at a time, one core each; by default as many as there are cores.
        device: What all cells learn on, in place of what the file says: cpu, mps, cuda:N, cuda for
            all NVIDIA GPUs, or auto for all GPUs; may be given several times. Each cell takes the
            one with the fewest.
        per_device: Cells at a time on each GPU, which share it; by default one.
        plugin: Module to import first; those that the file names must be named here too.
        watch: Run nothing: show how the cells stand that other processes run, and why some failed,
            until all have come to an end.
        dry_run: Only list the cells, how they stand and how long they may take.
        quiet: Print only the summary at the end.
    """

    study: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")]
    runs: OptionalPath = None
    processes: Annotated[Count | None, Number] = None
    device: Repeated = ()
    per_device: Annotated[Count | None, Number] = None
    plugin: Repeated = ()
    watch: bool = False
    dry_run: bool = False
    quiet: bool = False

    def __call__(self) -> int:
        """Run what is to do, or watch, and print the summary; 1 if a cell failed."""
        import torch
        from joblib import cpu_count  # type: ignore[import-untyped]

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

        for name in self.device:
            check_options(RunConfig, {"device": name}, "")
        processes = cpu_count() if self.processes is None else self.processes
        per_device = 1 if self.per_device is None else self.per_device
        torch.set_num_threads(1)  # the little that is done here is no faster with more
        study = read_study(self.study, self.runs, self.plugin)
        command = [*CELL, *self._plugins()]
        loop = SweepLoop(study.cells, command, processes, self.device, per_device)
        self._refuse_contradictions(loop.gpus)
        if self.watch:
            watch(loop, study.runs)
            return 1 if loop.entries_in("failed") else 0
        if self.dry_run:
            print(list_cells(loop), end="\n\n")
        if self.dry_run or not self.quiet:
            print(f"{count_states(loop, study.runs)}; {self._at_a_time(loop)}")
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

    def _refuse_contradictions(self, gpus: list[str]) -> None:
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

    def _at_a_time(self, loop: SweepLoop) -> str:
        places = f" on {', '.join(loop.gpus)}" if loop.gpus else ""
        return f"{loop.processes} at a time{places}"

    def _again(self) -> str:
        """The command that goes on with this."""
        words = ["lifelong-rl", "sweep", str(self.study)]
        for name in ("runs", "processes", "per_device"):
            if getattr(self, name) is not None:
                words += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        words += [word for device in self.device for word in ("--device", device)]
        return shlex.join([*words, *self._plugins()])

    def _plugins(self) -> list[str]:
        return [word for module in self.plugin for word in ("--plugin", module)]
