"""Following a run on the screen."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from lifelong_rl.cli.summary import print_summary
from lifelong_rl.runs.loop import SequenceLoop, run_to_end
from lifelong_rl.runs.reporters import Reporter
from lifelong_rl.runs.sequence import task_labels
from lifelong_rl.text import format_seconds

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lifelong_rl.runs.run_folder import RunFolder
    from lifelong_rl.runs.setup import Setup


def follow(loop: SequenceLoop, folder: RunFolder, *, quiet: bool) -> int:
    """Run a loop to its end with progress on the screen, and print the summary.

    Raises:
        RunStopped: Ctrl-C, SIGTERM, SIGHUP or SIGUSR1.
        RunFailed: The run cannot go on.
    """
    loud = BarReporter if sys.stdout.isatty() else LineReporter
    results = run_to_end(loop, folder, QuietReporter() if quiet else loud())
    print_summary(results, folder, quiet=quiet)
    return 0


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
        self._labels = task_labels(setup.sequence.tasks)
        self._steps_per_task = setup.steps_per_task
        self._steps_before = tasks_done * setup.steps_per_task
        self._started = perf_counter()
        self.write(
            f"{config.sequence} with {config.agent} and {config.method}, seed {config.seed}: "
            f"{len(self._labels)} tasks of {setup.steps_per_task} steps, in {path}"
        )
        if tasks_done:
            self.write(f"going on after {tasks_done} of {len(self._labels)} tasks")

    def resume(self, task_id: int, steps: int) -> None:
        """Say where."""
        self._steps_before += steps
        self.write(
            f"going on at step {steps} of {self._steps_per_task} of task {task_id + 1} "
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
            f"step {steps}/{self._steps_per_task}  success {success:.2f}  "
            f"{steps_per_second:.0f} steps/s  {left} left"
        )

    def row(self, tasks_done: int, success: list[float]) -> None:
        """Write the success of all tasks."""
        when = f"after {self._labels[tasks_done - 1]}" if tasks_done else "before training"
        values = "  ".join(f"{n} {v:.2f}" for n, v in zip(self._labels, success, strict=True))
        self.write(f"{when}: {values}")

    def write(self, line: str) -> None:
        """Write one line at once, so that it is seen through a pipe too."""
        print(line, flush=True)

    def seconds_left(self, task_id: int, steps: int) -> float:
        """Time to the end at the average speed so far."""
        position = task_id * self._steps_per_task + steps
        done = max(position - self._steps_before, 1)
        total = len(self._labels) * self._steps_per_task
        return (perf_counter() - self._started) / done * (total - position)


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
            TextColumn("{task.percentage:>3.0f}%  success {task.fields[success]}"),
            TextColumn("{task.fields[speed]} steps/s  {task.fields[left]} left"),
            expand=True,
            transient=True,
        )
        super().begin(setup, path, tasks_done)
        total = len(self._labels) * self._steps_per_task
        self._row: TaskID = self._bar.add_task(
            "evaluating",
            total=total,
            completed=self._steps_before,
            success="-",
            speed="-",
            left="-",
        )
        self._shown = perf_counter(), self._steps_before
        self._bar.start()

    def step(self, task_id: int, steps: int) -> None:
        """Move the bar, a few times a second."""
        assert self._bar is not None
        now, position = perf_counter(), task_id * self._steps_per_task + steps
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
        self._bar.update(self._row, success=f"{success:.2f}", refresh=True)

    def row(self, tasks_done: int, success: list[float]) -> None:
        """Write the success of all tasks, and show that of the task which begins."""
        assert self._bar is not None
        super().row(tasks_done, success)
        if tasks_done < len(success):
            self._bar.update(
                self._row,
                description=f"{tasks_done + 1}/{len(self._labels)} {self._labels[tasks_done]}",
                completed=tasks_done * self._steps_per_task,
                success=f"{success[tasks_done]:.2f}",
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
