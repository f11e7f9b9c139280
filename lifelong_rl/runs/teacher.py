"""Teachers: finished runs whose agents say what to do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lifelong_rl.errors import UserError
from lifelong_rl.learning import Agent
from lifelong_rl.learning.seeding import preserved_generators
from lifelong_rl.runs.checkpoint import TENSORS, load_checkpoint
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.runs.sequence import head_of
from lifelong_rl.storage.plain_file import read_bytes

OPTION = "teacher"
"""The agents' option that names the folder."""


@dataclass(frozen=True)
class Teacher:
    """A finished run on the state.

    Attributes:
        checkpoint: Folder of its last checkpoint.
        setup: Of the run, see `lifelong_rl.runs.setup.Setup`.
        sha256: Of what it has learned.
    """

    checkpoint: Path
    setup: Any
    sha256: str

    @cached_property
    def agent(self) -> Agent:
        """What has learned; the random numbers of others are left as they are.

        Raises:
            UserError: The checkpoint cannot be used, or holds nothing that acts.
        """
        setup = self.setup
        state = load_checkpoint(self.checkpoint, setup.identity, {"agent": dict})
        with preserved_generators(), closing(setup.make_env(len(setup.phases) - 1)) as env:
            agent: Agent
            agent, _ = setup.build_agent(env, state["agent"])
        if not any(component.role == "policy" for component in agent.components.values()):
            raise UserError(
                f"the agent '{setup.config.agent}' of the teacher has no policy network to learn "
                "from; take a run of an agent such as 'sac'"
            )
        return agent


def open_teacher(
    path: str,
    sequence: Any,
    prepare: Callable[[RunConfig, Collection[str]], Any],
    plugins: Collection[str],
    device: str,
) -> Teacher:
    """The run in a folder, if it can teach what a sequence asks.

    The folder may be somebody else's: nothing in it is unpickled, and no plug-in is imported that
    it alone names.

    Args:
        path: The folder.
        sequence: What is to be taught.
        prepare: See `lifelong_rl.runs.setup.prepare`.
        plugins: Modules that the user has named.
        device: What to compute on.

    Raises:
        UserError: There is no such run, it has not finished, sees pictures, has learned other
            tasks, or cannot be opened.
    """
    try:
        folder = RunFolder.open(Path(os.path.expanduser(path)))
        if not folder.results():
            raise UserError(f"the run has not finished; go on with: {folder.command('resume')}")
        config = replace(folder.config, device=device)
        if config.observes_pixels:
            raise UserError("its agent sees pictures; a teacher acts on the state")
        if config.agent_options.get(OPTION) is not None:
            raise UserError("its agent had a teacher itself; take that one")
        setup = prepare(config, plugins)
        _compare(setup.sequence, sequence)
        names = folder.names_at_task_ends()
        if not names:
            raise UserError("it has no checkpoint")
        checkpoint = folder.find_checkpoint(names[-1])
        digest = hashlib.sha256(read_bytes(checkpoint / TENSORS)).hexdigest()
    except OSError as error:
        raise UserError(f"the teacher {path} cannot be read: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"the teacher {path} cannot teach: {error}") from error
    return Teacher(checkpoint, setup, digest)


def _compare(learned: Any, wanted: Any) -> None:
    """Raise UserError unless two sequences have the same tasks under the same heads."""
    heads = [
        [(task, head_of(sequence, k)) for k, task in enumerate(sequence.tasks)]
        for sequence in (learned, wanted)
    ]
    if heads[0] != heads[1]:
        raise UserError(
            f"it has learned {', '.join(learned.tasks)} in this order, and what is to be learned "
            f"is {', '.join(wanted.tasks)}"
        )
    there, here = learned.versions(), wanted.versions()
    for task in wanted.tasks:
        if there[task] != here[task]:
            raise UserError(f"it has learned version {there[task]} of '{task}', not {here[task]}")
