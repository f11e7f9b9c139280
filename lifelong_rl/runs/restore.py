"""Going on with a run from one of its checkpoints."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.learning import Agent
from lifelong_rl.runs.checkpoint import CheckpointError, load_checkpoint
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.loop import SequenceLoop
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.setup import Setup, prepare
from lifelong_rl.runs.within_task import Segments, check_of_task
from lifelong_rl.storage.json_file import Shape
from lifelong_rl.storage.metrics_log import refuse_cut_off

STATE: Shape = {
    "agent": dict,
    "record": {"performance": [list], "returns": [list], "curves": [dict], "learn_seconds": list},
    "metrics_bytes": int,
}
"""Shape of a run's state: what is read of it before the agent is built."""


def open_loop(
    folder: RunFolder,
    checkpoint: str | None = None,
    plugins: Collection[str] = (),
    device: str | None = None,
) -> SequenceLoop:
    """The loop of a run, as it stood at a checkpoint.

    Args:
        folder: Locked by the caller.
        checkpoint: Go on from this one, and remove those after it; by default from the last, or
            from the beginning where there is none.
        plugins: Modules to import first, see `prepare`.
        device: Go on on this one; by default on that of the configuration.

    Raises:
        UserError: The configuration or the checkpoint cannot be used; nothing is removed then.
    """
    setup = prepare_on(device, folder.config, plugins)
    state = load_state(setup, folder, checkpoint)
    loop = SequenceLoop(setup, state, folder.segments)
    if state is not None:
        refuse_cut_off(folder.metrics, state["metrics_bytes"])
    if checkpoint is not None:
        folder.rewind(checkpoint)
    return loop


def prepare_on(device: str | None, config: RunConfig, plugins: Collection[str]) -> Setup:
    """What `prepare` makes of a run's configuration, for another device if one is named."""
    return prepare(config if device is None else replace(config, device=device), plugins)


def finished_results(folder: RunFolder) -> dict[str, Any] | None:
    """The results of a finished run, None of another; writes the status if that is missing."""
    results = folder.results()
    if not results:
        return None
    if folder.status().get("status") != "finished":  # killed between the two writes
        folder.write_status("finished")
    return results


def load_state(setup: Setup, folder: RunFolder, name: str | None) -> dict[str, Any] | None:
    """What the checkpoint called `name` holds, by default the last; None if there is none.

    Raises:
        CheckpointError: It cannot be used; the message names the last one that can.
    """
    names = folder.checkpoint_names()
    if name is None and not names:
        return None
    path = folder.find_checkpoint(names[-1] if name is None else name)
    try:
        return _load(setup, folder, path)
    except CheckpointError as error:
        for earlier in reversed(names[: names.index(path.name)]):
            try:
                _load(setup, folder, folder.checkpoints / earlier)
            except CheckpointError:
                continue
            raise CheckpointError(
                error.path,
                f"{error.reason}; '{earlier}' is good, so put the file back or go on from there: "
                + folder.command("resume", "--from", earlier),
            ) from error
        raise


def _load(setup: Setup, folder: RunFolder, path: Path) -> dict[str, Any]:
    """What a checkpoint holds, whose segments are good if it is within a task."""
    state = load_checkpoint(path, setup.identity, STATE)
    if "task" in state:
        check_of_task(path, state["task"])
        Segments(folder.segments, state["task"]["segments"]).check()
    return state


def load_agent(setup: Setup, folder: RunFolder, name: str | None) -> tuple[Agent, int]:
    """The agent as the checkpoint called `name` holds it, by default the last at a task's end.

    From then on torch computes with as many threads as the run did.

    Returns:
        The agent, and how many phases of the sequence it had learned.

    Raises:
        CheckpointError: It cannot be used.
        UnknownNameError: There is none of this name at a task's end.
        UserError: The run has no checkpoint yet.
    """
    names = folder.names_at_task_ends()
    if name is not None and name not in names:
        raise UnknownNameError("checkpoint", name, names, see=str(folder.checkpoints))
    state = load_state(setup, folder, name or names[-1]) if names else None
    if state is None:
        raise UserError(
            f"{folder.path} has no checkpoint yet; go on with: {folder.command('resume')}"
        )
    torch.set_num_threads(setup.config.threads)
    tasks_done = len(state["record"]["performance"]) - 1
    with closing(setup.make_env(min(tasks_done, len(setup.phases) - 1))) as env:
        agent, _ = setup.build_agent(env, state["agent"])
    return agent, tasks_done
