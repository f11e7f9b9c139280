"""`lifelong-rl resume`: go on with a run that was stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lifelong_rl.cli.options import Command, OptionalDevice, Repeated


@dataclass(frozen=True, kw_only=True)
class Resume(Command):
    """Go on with a run that was stopped, from its last checkpoint.

    The results are those of a run that was never stopped, unless it goes on on another device.

    Attributes:
        run_dir: Folder of the run.
        checkpoint: Go on from this one, such as task-001, and remove those after it.
        device: Go on on this one: auto, cpu, cuda, cuda:N or mps; by default on the run's own.
        plugin: Module to import first; those that the run names must be named here too.
        quiet: Print only the summary at the end.
    """

    run_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    checkpoint: Annotated[str | None, tyro.conf.arg(name="from", metavar="CHECKPOINT")] = None
    device: OptionalDevice = None
    plugin: Repeated = ()
    quiet: bool = False

    def __call__(self) -> int:
        """Resume, and print the summary."""
        from lifelong_rl.cli.progress import choose_reporter
        from lifelong_rl.cli.summary import print_summary
        from lifelong_rl.runs.loop import run_to_end
        from lifelong_rl.runs.restore import finished_results, open_loop
        from lifelong_rl.runs.run_folder import RunFolder

        folder = RunFolder.open(self.run_dir)
        folder.lock()
        try:
            results = None if self.checkpoint is not None else finished_results(folder)
            if results:
                print(f"{folder.path} is finished; nothing to resume")
            else:
                loop = open_loop(folder, self.checkpoint, self.plugin, self.device)
                results = run_to_end(loop, folder, choose_reporter(quiet=self.quiet))
            print_summary(results, folder, quiet=self.quiet)
            return 0
        finally:
            folder.unlock()
