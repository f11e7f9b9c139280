"""What commands share that run the cells of a study: where, on what, and how many at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from lifelong_rl.cli.options import Choice, Command, Number, OptionalPath, Options, Repeated
from lifelong_rl.errors import UserError
from lifelong_rl.options import Count, check_options
from lifelong_rl.runs.config import RunConfig

if TYPE_CHECKING:
    from lifelong_rl.studies.executors.executor import Executor


@dataclass(frozen=True, kw_only=True)
class CellCommand(Command):
    """Base of the commands that run cells.

    Attributes:
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
    """

    runs: OptionalPath = None
    processes: Annotated[Count | None, Number] = None
    device: Repeated = ()
    per_device: Annotated[Count | None, Number] = None
    plugin: Repeated = ()
    executor: Annotated[Literal["local", "ray", "slurm"], Choice] = "local"
    address: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    slurm: Options = field(default_factory=dict)

    def refuse_options_of_others(self) -> None:
        """Raise UserError for devices that cannot be, and for what the executor has no use for."""
        for name in self.device:
            check_options(RunConfig, {"device": name}, "")
        if self.address is not None and self.executor != "ray":
            raise UserError("--address is for --executor ray; give that, or leave it out")
        if self.slurm and self.executor != "slurm":
            raise UserError("--slurm is for --executor slurm; give that, or leave it out")
        if self.executor != "local" and len(self.device) > 1:
            raise UserError(f"with --executor {self.executor} give --device once: cpu or cuda")
        if self.executor == "slurm" and self.per_device is not None:
            raise UserError("Slurm gives each cell a GPU of its own; leave --per-device out")

    def make_executor(self, runs: Path) -> Executor:
        """What runs the cells.

        Args:
            runs: Their folder.
        """
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

    def words_of_executor(self) -> list[str]:
        """The options of where cells run, as they were given."""
        words = [] if self.executor == "local" else ["--executor", self.executor]
        for name in ("address", "runs", "processes", "per_device"):
            if getattr(self, name) is not None:
                words += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        if self.slurm:
            words += ["--slurm", *(f"{name}={json.dumps(v)}" for name, v in self.slurm.items())]
        return [*words, *self.words("device")]

    def words(self, name: str) -> list[str]:
        """An option that may be given several times, as it was given."""
        given: Sequence[str] = getattr(self, name)
        return [word for value in given for word in (f"--{name}", value)]
