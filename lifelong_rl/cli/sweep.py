"""`lifelong-rl sweep`: run all that a study asks for."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from lifelong_rl.cli.options import Choice, Command, Number, OptionalPath, Options, Repeated
from lifelong_rl.errors import UserError
from lifelong_rl.options import Count, check_options
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.endings import RunStopped, raise_when_stopped, stopping_exit_code
from lifelong_rl.text import quote

if TYPE_CHECKING:
    from lifelong_rl.studies.executors.executor import Executor
    from lifelong_rl.studies.study import Study
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
        executor: What runs the cells: local, this machine; ray, a Ray cluster; or slurm. See
            docs/clusters.md.
        address: Of the Ray cluster to join, such as auto or HOST:6379; by default one is started on
            this machine.
        slurm: What Slurm is asked for, such as partition=cpu time_limit=240.
        shard: Only every N-th cell, beginning with the I-th; for several sweeps at once.
        print_commands: Only print a command for each cell that is to do, for another scheduler.
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
    executor: Annotated[Literal["local", "ray", "slurm"], Choice] = "local"
    address: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    slurm: Options = field(default_factory=dict)
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

        for name in self.device:
            check_options(RunConfig, {"device": name}, "")
        index, number = self._find_shard()
        self._refuse_options_of_others()
        torch.set_num_threads(1)  # the little that is done here is no faster with more
        study = read_study(self.study, self.runs, self.plugin)
        command = [*CELL, *self._plugins()]
        executor = self._make_executor(study.runs)
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

    def _make_executor(self, runs: Path) -> Executor:
        """What runs the cells."""
        from joblib import cpu_count  # type: ignore[import-untyped]

        per_device = 1 if self.per_device is None else self.per_device
        if self.executor == "local":
            from lifelong_rl.studies.executors.local import LocalExecutor

            return LocalExecutor(self.processes or cpu_count(), self.device, per_device)
        device = self.device[0] if self.device else None
        if self.executor == "ray":
            from lifelong_rl.studies.executors.ray import RayExecutor

            return RayExecutor(self.address, self.processes, device, per_device)
        from lifelong_rl.studies.executors.slurm import Slurm, SlurmExecutor

        options = Slurm.Options.of(None, self.slurm)
        return SlurmExecutor(runs, options, self.processes, device)

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

    def _refuse_options_of_others(self) -> None:
        """Raise UserError for options that the executor has no use for."""
        if self.address is not None and self.executor != "ray":
            raise UserError("--address is for --executor ray; give that, or leave it out")
        if self.slurm and self.executor != "slurm":
            raise UserError("--slurm is for --executor slurm; give that, or leave it out")
        if self.executor != "local" and len(self.device) > 1:
            raise UserError(f"with --executor {self.executor} give --device once: cpu or cuda")
        if self.executor == "slurm" and self.per_device is not None:
            raise UserError("Slurm gives each cell a GPU of its own; leave --per-device out")
        if self.print_commands and self.executor != "local":
            raise UserError(
                "--print-commands is for schedulers that no executor knows; leave --executor out"
            )

    def _commands(self, loop: SweepLoop, study: Study) -> str:
        """A line for each cell that is to do: the shard of the study that is this cell."""
        words = ["lifelong-rl", "sweep", str(self.study.absolute())]
        words += ["--runs", str(study.runs.absolute()), *self._words("device"), *self._plugins()]
        words += ["--processes", "1", "--shard"]
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
        words = ["lifelong-rl", "sweep", str(self.study)]
        if self.executor != "local":
            words += ["--executor", self.executor]
        for name in ("address", "runs", "processes", "per_device", "shard"):
            if getattr(self, name) is not None:
                words += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        if self.slurm:
            words += ["--slurm", *(f"{name}={json.dumps(v)}" for name, v in self.slurm.items())]
        return shlex.join([*words, *self._words("device"), *self._plugins()])

    def _plugins(self) -> list[str]:
        return self._words("plugin")

    def _words(self, name: str) -> list[str]:
        """An option that may be given several times, as it was given."""
        return [word for value in getattr(self, name) for word in (f"--{name}", value)]
