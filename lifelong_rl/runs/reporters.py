"""Who is told how a run goes: `Reporter`, the hook, and several of them as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lifelong_rl.runs.setup import Setup


class Reporter:
    """Is told how a run goes. This one keeps quiet.

    Subclass it, override what you need and give it to `SequenceLoop.run`. What it is told decides
    nothing: a run has the same results whoever follows it, as long as a reporter draws no random
    numbers from the global generators. An exception that it raises ends the run as failed.
    """

    def warn(self, text: str) -> None:
        """Something that should be known of the run, which is about to begin or to go on."""

    def begin(self, setup: Setup, path: Path, tasks_done: int) -> None:
        """The run in folder `path` begins, or goes on after so many tasks."""

    def note(self, line: str) -> None:
        """Something is worth knowing that is no error."""

    def resume(self, task_id: int, steps: int) -> None:
        """The run goes on within a task, of which so many steps are done."""

    def step(self, task_id: int, steps: int) -> None:
        """So many environment steps of the task are done."""

    def evaluated(self, task_id: int, steps: int, success: float, steps_per_second: float) -> None:
        """The task being learned was evaluated."""

    def row(self, tasks_done: int, success: list[float]) -> None:
        """All tasks were evaluated."""

    def logged(self, kind: str, step: int, task: str | None, values: Mapping[str, float]) -> None:
        """A line was written to `metrics.jsonl`.

        Args:
            kind: "train", or "evaluation" of all tasks.
            step: Environment steps so far, over all tasks.
            task: Label of the task that is learned; None before the first.
            values: Numbers by name, which may be infinite or NaN.
        """

    def pictured(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """The performance matrix and the success so far, as pictures (height, width, 3) uint8."""

    def end(self) -> None:
        """The run has ended, in whatever way."""


class Together(Reporter):
    """A reporter with trackers beside it.

    A tracker that raises an exception is told no more, and the run goes on.

    Args:
        reporter: Is told everything, and of trackers that failed.
        trackers: By their names.
    """

    def __init__(self, reporter: Reporter, trackers: Mapping[str, Reporter]) -> None:
        self._reporter = reporter
        self._trackers = dict(trackers)

    def warn(self, text: str) -> None:
        """Tell all."""
        self._tell(lambda each: each.warn(text))

    def begin(self, setup: Setup, path: Path, tasks_done: int) -> None:
        """Tell all."""
        self._tell(lambda each: each.begin(setup, path, tasks_done))

    def note(self, line: str) -> None:
        """Tell all."""
        self._tell(lambda each: each.note(line))

    def resume(self, task_id: int, steps: int) -> None:
        """Tell all."""
        self._tell(lambda each: each.resume(task_id, steps))

    def step(self, task_id: int, steps: int) -> None:
        """Tell all."""
        self._tell(lambda each: each.step(task_id, steps))

    def evaluated(self, task_id: int, steps: int, success: float, steps_per_second: float) -> None:
        """Tell all."""
        self._tell(lambda each: each.evaluated(task_id, steps, success, steps_per_second))

    def row(self, tasks_done: int, success: list[float]) -> None:
        """Tell all."""
        self._tell(lambda each: each.row(tasks_done, success))

    def logged(self, kind: str, step: int, task: str | None, values: Mapping[str, float]) -> None:
        """Tell all."""
        self._tell(lambda each: each.logged(kind, step, task, values))

    def pictured(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Tell all."""
        self._tell(lambda each: each.pictured(step, pictures))

    def end(self) -> None:
        """Tell all."""
        self._tell(lambda each: each.end())

    def _tell(self, tell: Callable[[Reporter], None]) -> None:
        tell(self._reporter)
        for name, tracker in list(self._trackers.items()):
            try:
                tell(tracker)
            except Exception as error:  # whatever it is, it is the tracker's
                del self._trackers[name]
                what = " ".join(f"{type(error).__name__}: {error}".split())
                self._reporter.warn(f"{name} does not follow this run any more ({what})")
