"""`lifelong-rl resume`: go on with a run that was stopped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lifelong_rl.cli.options import Command
from lifelong_rl.errors import UserError

if TYPE_CHECKING:
    from lifelong_rl.benchmark.run_folder import RunFolder
    from lifelong_rl.benchmark.setup import Setup


@dataclass(frozen=True, kw_only=True)
class Resume(Command):
    """Go on with a run that was stopped, from its last checkpoint.

    The results are those of a run that was never stopped.

    Attributes:
        run_dir: Folder of the run.
        checkpoint: Go on from this one, such as task-001, and remove those after it.
        quiet: Print only the summary at the end.
    """

    run_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")]
    checkpoint: Annotated[str | None, tyro.conf.arg(name="from", metavar="CHECKPOINT")] = None
    quiet: bool = False

    def __call__(self) -> int:
        """Resume, and print the summary."""
        from lifelong_rl.benchmark.loop import SequenceLoop
        from lifelong_rl.benchmark.metrics_log import refuse_cut_off
        from lifelong_rl.benchmark.run_folder import RunFolder
        from lifelong_rl.benchmark.setup import prepare
        from lifelong_rl.cli.progress import follow
        from lifelong_rl.cli.summary import print_summary

        folder = RunFolder.open(self.run_dir)
        folder.lock()
        try:
            results = folder.results()
            if results and self.checkpoint is None:
                if folder.status().get("status") != "finished":  # killed between the two writes
                    folder.write_status("finished")
                print(f"{folder.path} is finished; nothing to resume")
                print_summary(results, folder.path, quiet=self.quiet)
                return 0
            setup = prepare(folder.config)
            state = load_state(setup, folder, self.checkpoint)
            loop = SequenceLoop(setup, state)
            if state is not None:
                refuse_cut_off(folder.metrics, state["metrics_bytes"])
            if self.checkpoint is not None:
                folder.rewind(self.checkpoint)
            return follow(loop, folder, quiet=self.quiet)
        finally:
            folder.unlock()


def load_state(setup: Setup, folder: RunFolder, name: str | None) -> dict[str, Any] | None:
    """What the checkpoint called `name` holds, by default the last; None if there is none.

    Raises:
        CheckpointError: It cannot be used; the message names the last one that can.
    """
    from lifelong_rl.benchmark.checkpoint import CheckpointError, load_checkpoint

    names = folder.checkpoint_names()
    if name is None and not names:
        return None
    path = folder.find_checkpoint(name or names[-1])
    try:
        return load_checkpoint(path, setup.identity)
    except CheckpointError as error:
        for earlier in reversed(names[: names.index(path.name)]):
            try:
                load_checkpoint(folder.checkpoints / earlier, setup.identity)
            except CheckpointError:
                continue
            raise CheckpointError(
                error.path,
                f"{error.reason}; '{earlier}' is good, so put the file back or go on from there: "
                f"lifelong-rl resume {folder.path} --from {earlier}",
            ) from error
        raise


def load_learned(setup: Setup, folder: RunFolder, name: str | None) -> dict[str, Any]:
    """What the checkpoint called `name` holds, by default the last.

    Raises:
        CheckpointError: It cannot be used.
        UserError: The run has no checkpoint yet.
    """
    state = load_state(setup, folder, name)
    if state is None:
        raise UserError(
            f"{folder.path} has no checkpoint yet; go on with: lifelong-rl resume {folder.path}"
        )
    return state
