"""Following a run on the screen."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from lifelong_rl.runs.reporters import Reporter
from lifelong_rl.runs.sequence import measures_of
from lifelong_rl.text import format_score, format_seconds

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lifelong_rl.runs.setup import Setup


def choose_reporter(*, quiet: bool) -> Reporter:
    """What follows a run on the screen."""
    loud = BarReporter if sys.stdout.isatty() else LineReporter
    return QuietReporter() if quiet else loud()


class QuietReporter(Reporter):
    """Nothing but what should be known."""

    def warn(self, text: str) -> None:
        """Warn on stderr."""
        print(f"lifelong-rl: warning: {text}", file=sys.stderr, flush=True)


class LineReporter(QuietReporter):
    """A line for each evaluation."""

    def begin(self, setup: Setup, path: Path, tasks_done: int) -> None:
        """Say what is run and where."""
        config = setup.config
        self._tasks, self._labels = setup.labels, setup.phase_labels
        self._starts, self._steps = setup.starts, setup.phase_steps
        self._phases = setup.phases
        self._measures = measures_of(setup.sequence)
        self._steps_before = self._starts[tasks_done]
        self._started = perf_counter()
        alike = len(set(self._steps)) == 1
        budget = f"of {self._steps[0]} steps" if alike else f"of {sum(self._steps)} steps in all"
        self.write(
            f"{config.sequence_name} with {config.agent} and {config.method}, seed {config.seed}: "
            f"{len(self._labels)} tasks {budget}, in {path}"
        )
        if tasks_done:
            self.write(f"going on after {tasks_done} of {len(self._labels)} tasks")

    def resume(self, task_id: int, steps: int) -> None:
        """Say where."""
        self._steps_before += steps
        self.write(
            f"going on at step {steps} of {self._steps[task_id]} of task {task_id + 1} "
            f"'{self._labels[task_id]}'"
        )

    def note(self, line: str) -> None:
        """Write it."""
        self.write(line)

    def evaluated(self, task_id: int, steps: int, success: float, steps_per_second: float) -> None:
        """Write a line."""
        left = format_seconds(self.seconds_left(task_id, steps))
        self.write(
            f"[{task_id + 1}/{len(self._labels)} {self._labels[task_id]}] "
            f"step {steps}/{self._steps[task_id]}  {self._measure} {format_score(success)}  "
            f"{steps_per_second:.0f} steps/s  {left} left"
        )

    def row(self, tasks_done: int, success: list[float]) -> None:
        """Write the success of all tasks."""
        when = f"after {self._labels[tasks_done - 1]}" if tasks_done else "before training"
        values = zip(self._tasks, success, strict=True)
        self.write(f"{when}: {'  '.join(f'{name} {format_score(v)}' for name, v in values)}")

    def write(self, line: str) -> None:
        """Write one line at once, so that it is seen through a pipe too."""
        print(line, flush=True)

    def seconds_left(self, task_id: int, steps: int) -> float:
        """Time to the end at the average speed so far."""
        position = self._starts[task_id] + steps
        done = max(position - self._steps_before, 1)
        return (perf_counter() - self._started) / done * (self._starts[-1] - position)

    @property
    def _measure(self) -> str:
        """What is measured on the tasks, in a word."""
        return self._measures[0] if len(set(self._measures)) == 1 else "score"


class BarReporter(LineReporter):
    """A progress bar on a terminal, and a line after each task."""

    REFRESH_SECONDS = 0.2

    _bar: Progress | None = None

    def begin(self, setup: Setup, path: Path, tasks_done: int) -> None:
        """Show the bar."""
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[measure]} {task.fields[success]}"),
            TextColumn("{task.fields[speed]} steps/s  {task.fields[left]} left"),
            expand=True,
            transient=True,
        )
        super().begin(setup, path, tasks_done)
        self._row: TaskID = self._bar.add_task(
            "evaluating",
            total=self._starts[-1],
            completed=self._steps_before,
            measure=self._measure,
            success="-",
            speed="-",
            left="-",
        )
        self._shown = perf_counter(), self._steps_before
        self._bar.start()

    def step(self, task_id: int, steps: int) -> None:
        """Move the bar, a few times a second."""
        assert self._bar is not None
        now, position = perf_counter(), self._starts[task_id] + steps
        then, before = self._shown
        if now - then < self.REFRESH_SECONDS:
            return
        self._shown = now, position
        self._bar.update(
            self._row,
            description=f"{task_id + 1}/{len(self._labels)} {self._labels[task_id]}",
            completed=position,
            speed=f"{(position - before) / (now - then):.0f}",
            left=format_seconds(self.seconds_left(task_id, steps)),
        )

    def evaluated(self, task_id: int, steps: int, success: float, steps_per_second: float) -> None:
        """Show the success."""
        assert self._bar is not None
        self._bar.update(self._row, success=format_score(success), refresh=True)

    def row(self, tasks_done: int, success: list[float]) -> None:
        """Write the success of all tasks, and show that of what is learned next."""
        assert self._bar is not None
        super().row(tasks_done, success)
        if tasks_done < len(self._labels):
            tasks = self._phases[tasks_done].tasks
            self._bar.update(
                self._row,
                description=f"{tasks_done + 1}/{len(self._labels)} {self._labels[tasks_done]}",
                completed=self._starts[tasks_done],
                success=format_score(sum(success[j] for j in tasks) / len(tasks)),
                refresh=True,
            )

    def write(self, line: str) -> None:
        """Write one line above the bar."""
        assert self._bar is not None
        self._bar.console.print(line, highlight=False, markup=False)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
