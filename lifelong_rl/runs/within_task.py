"""Checkpoints within a task: whether there can be any, when, and what they hold beside the state.

Such a checkpoint is a folder beside those at the ends of tasks, called after the last of them and
the step, and replaced by the next. What an agent gathers only grows, so it is written in segments,
each of them once, into a folder that these checkpoints share.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import safetensors.numpy

from lifelong_rl.learning.protocols import Experience
from lifelong_rl.runs.checkpoint import CheckpointError
from lifelong_rl.storage.atomic import write_file, writing
from lifelong_rl.storage.json_file import Name, Shape, check_shape
from lifelong_rl.storage.plain_file import read_bytes, refuse_link
from lifelong_rl.storage.state_tree import encode_tree
from lifelong_rl.text import one_line

LARGEST_SHARE = 0.05
"""Of the time, which checkpoints may cost."""
SEGMENT_BYTES = 1 << 26
"""A larger stretch of experience is cut into several segments."""
SEGMENT = re.compile(r"\d+-\d+\.safetensors")
"""Names of segments: the first step, and the one after the last."""
SEGMENTS: Shape = [{"name": Name, "first": int, "end": int, "sha256": str, "arrays": [str]}]
"""Shape of `Segments.listing`."""
OF_TASK: Shape = {
    "step": int,
    "due": [int],
    "mark": object,
    "learn_seconds": float,
    "evaluate_seconds": float,
    "update_cost": dict,
    "generators": dict,
    "env": dict,
    "segments": SEGMENTS,
}
"""Shape of what a checkpoint within a task holds under "task"."""


def find_obstacle(agent: Any, method: Any, env: Any, names: tuple[str, str, str]) -> str | None:
    """Why a run cannot be saved within the task that was begun; None if it can.

    Args:
        agent: As the loop has it.
        method: Its method.
        env: The environments that it learns in.
        names: What to call the three.
    """
    of_agent, of_method, of_env = names[0], names[1], f"the environments of {names[2]}"
    takes_pause = "pause" in inspect.signature(agent.learn_task).parameters
    if not (takes_pause and hasattr(agent, "task_state") and hasattr(agent, "experience")):
        return f"{of_agent} has no task_state()"
    if method.task_state() is None:
        return f"{of_method} has no task_state()"
    if not (hasattr(env, "state_dict") and hasattr(env, "load_state_dict")):
        return f"{of_env} have no state_dict()"
    for owner, tell in (
        (f"task_state() of {of_agent}", agent.task_state),
        (
            f"state_dict() of {of_env}",
            env.state_dict,
        ),
    ):
        try:
            state = tell()
            encode_tree(state)
        except Exception as error:  # anyone's; a run that needs no checkpoint there goes on
            return f"{owner}: {one_line(str(error))}"
        if state is None:
            return f"the {owner} is None"
    return None


class CheckpointClock:
    """Says when the next checkpoint is due.

    Args:
        minutes: From one to the next, at least; 0 for none.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self.restart()

    def restart(self, cost: float = 0.0) -> None:
        """Begin to count anew after a checkpoint.

        Args:
            cost: Seconds that it took. The time to the next is long enough that they are at most
                `LARGEST_SHARE` of both.
        """
        wait = max(self._seconds, cost * (1 / LARGEST_SHARE - 1))
        self._due = perf_counter() + wait if self._seconds else float("inf")

    @property
    def is_due(self) -> bool:
        """Whether it is time."""
        return perf_counter() >= self._due


class Segments:
    """Experience in files that are written once.

    Args:
        folder: Made when there is something to write.
        listing: Segments that are there.

    Attributes:
        listing: What a checkpoint has to know of them, as JSON.
    """

    def __init__(self, folder: Path, listing: Sequence[Mapping[str, Any]] = ()) -> None:
        self._folder = folder
        self.listing = [dict(segment) for segment in listing]

    def extend(self, experience: Experience) -> None:
        """Write what is new; what is dropped leaves the listing, and its files stay.

        Raises:
            WriteError: The disk refused.
        """
        first, end = experience.span()
        self.listing = [segment for segment in self.listing if segment["end"] > first]
        begin = max(first, self.listing[-1]["end"]) if self.listing else first
        if begin == end:
            return
        refuse_link(self._folder)
        with writing(self._folder):
            self._folder.mkdir(exist_ok=True)
        one = experience.read(begin, begin + 1)
        at_once = max(1, SEGMENT_BYTES // max(1, sum(array.nbytes for array in one.values())))
        for start in range(begin, end, at_once):
            stop = min(start + at_once, end)
            arrays = experience.read(start, stop)
            content = safetensors.numpy.save(
                {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            )
            name = f"{start:09d}-{stop:09d}.safetensors"
            write_file(self._folder / name, content)
            self.listing.append(
                {
                    "name": name,
                    "first": start,
                    "end": stop,
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "arrays": list(arrays),  # the file has no order of its own
                }
            )

    def load(self, experience: Experience) -> None:
        """Give all of it back.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        for segment in self.listing:
            experience.write(segment["first"], self._read(segment))

    def check(self) -> None:
        """Read all files.

        Raises:
            CheckpointError: One is missing or damaged.
        """
        for segment in self.listing:
            self._read(segment)

    def tidy(self) -> None:
        """Remove the files that are not in the listing, and the folder if none is left."""
        if not self._folder.is_dir():
            return
        refuse_link(self._folder)
        kept = {segment["name"] for segment in self.listing}
        with writing(self._folder):
            for path in self._folder.iterdir():
                if SEGMENT.fullmatch(path.name) and path.name not in kept:
                    path.unlink()
        if not kept:
            with suppress(OSError):  # something else is in it
                self._folder.rmdir()

    def _read(self, segment: Mapping[str, Any]) -> dict[str, np.ndarray]:
        path = self._folder / segment["name"]
        try:
            content = read_bytes(path)
        except OSError as error:
            raise CheckpointError(path, f"cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != segment["sha256"]:
            raise CheckpointError(path, "is truncated or was changed: its checksum differs")
        arrays = safetensors.numpy.load(content)
        return {name: arrays[name] for name in segment["arrays"]}


def check_of_task(path: Path, of_task: object) -> None:
    """Refuse what is under "task" if it is something else, or names other files than segments.

    Args:
        path: The checkpoint.
        of_task: What it holds there.

    Raises:
        CheckpointError: It is, or does.
    """
    try:
        check_shape(of_task, OF_TASK)
    except ValueError as error:
        raise CheckpointError(path, f"cannot be read: {error}") from error
    assert isinstance(of_task, dict)
    for segment in of_task["segments"]:
        if not SEGMENT.fullmatch(segment["name"]):
            raise CheckpointError(path, f"cannot be read: it names {segment['name']!r}")
