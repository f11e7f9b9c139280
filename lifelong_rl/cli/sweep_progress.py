"""How a sweep is seen: lines and tables of its cells."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from lifelong_rl.studies.sweep import LOG, Entry, Estimate, State, SweepLoop, SweepReporter
from lifelong_rl.text import format_seconds, format_table

STATES: tuple[State, ...] = (
    "finished",
    "running",
    "running elsewhere",
    "queued",
    "failed",
    "to do",
    "left out",
)
"""In the order in which they are told."""
WATCH_SECONDS = 2.0
"""Between two looks at cells that others run."""
FAILURES = 8
"""Cells that failed that a table names."""


class LineReporter(SweepReporter):
    """A line for each cell that ends."""

    def begin(self, loop: SweepLoop) -> None:
        """Note what is run."""
        self._loop = loop

    def changed(self, entry: Entry) -> None:
        """Write a line, unless the cell has only begun."""
        if entry.state in ("running", "queued") or (entry.state == "to do" and not entry.message):
            return
        if entry.state == "failed":
            event = f"failed: {entry.message}"
        elif entry.state == "finished":
            note = f" ({entry.message})" if entry.message else ""
            event = f"finished in {format_seconds(entry.seconds)}{note}"
        elif entry.message and entry.state != "left out":
            event = entry.message
        else:
            event = f"is {entry.state}"
        finished = len(self._loop.entries_in("finished"))
        total = len(self._loop.entries) - len(self._loop.entries_in("left out"))
        left = format_left(self._loop.seconds_left())
        self.write(f"{finished}/{total} {entry.cell.name} {event}, {left} left")

    def write(self, line: str) -> None:
        """Write one line at once, so that it is seen through a pipe too."""
        print(line, flush=True)


class TableReporter(LineReporter):
    """A table on a terminal of how the cells stand, and a line above it for each that ends."""

    REFRESH_SECONDS = 0.5

    def begin(self, loop: SweepLoop) -> None:
        """Show the table."""
        super().begin(loop)
        self._live = Live(console=Console(), auto_refresh=False, transient=True)
        self._live.start()
        self._show()

    def tick(self) -> None:
        """Show how far the cells are, a few times a second."""
        if time.monotonic() - self._shown >= self.REFRESH_SECONDS:
            self._show()

    def write(self, line: str) -> None:
        """Write one line above the table."""
        self._live.console.print(line, highlight=False, markup=False)
        self._show()

    def end(self) -> None:
        """Take the table away."""
        self._live.stop()

    def _show(self) -> None:
        self._shown = time.monotonic()
        self._live.update(show_cells(self._loop), refresh=True)


def show_cells(loop: SweepLoop) -> Group:
    """How the cells stand, how far those are that are running, and why others failed."""
    return Group(_counts(loop), _running(loop), _failures(loop))


def watch(loop: SweepLoop, runs: Path, seconds: float = WATCH_SECONDS) -> None:
    """Show how cells stand that other processes run, until all have come to an end.

    On a terminal that is a table; elsewhere it is what `count_states` and `explain_states` say,
    again whenever it has changed. The last thing told is how they ended.

    Args:
        loop: Of which nothing is run.
        runs: Folder of the cells.
        seconds: Between two looks.
    """
    on_terminal = sys.stdout.isatty()
    live = Live(console=Console(), auto_refresh=False, transient=True)
    told = ""
    with live if on_terminal else contextlib.nullcontext():
        while True:
            loop.look_again()
            text = f"{count_states(loop, runs)}\n{explain_states(loop)}"
            if on_terminal:
                live.update(show_cells(loop), refresh=True)
            elif text != told:
                print(text, end="", flush=True)
            told = text
            if not (loop.entries_in("to do") or loop.entries_in("running elsewhere")):
                break
            time.sleep(seconds)
    if on_terminal:
        print(told, end="")


def _counts(loop: SweepLoop) -> Table:
    """How many cells of each sequence and agent stand how, and the time left."""
    states = [state for state in STATES if loop.entries_in(state)]
    table = Table("cells", box=None, header_style="bold")
    for state in states:
        table.add_column(state, justify="right")
    kinds: dict[str, list[Entry]] = {}
    for entry in loop.entries:
        config = entry.cell.setup.config
        kinds.setdefault(f"{config.sequence_name} {config.agent}", []).append(entry)
    for kind, among in kinds.items():
        table.add_row(kind, *_count(among, states))
    if len(kinds) > 1:
        table.add_row("all", *_count(loop.entries, states), style="bold")
    table.caption = f"{format_left(loop.seconds_left())} left"
    return table


def _running(loop: SweepLoop) -> Table:
    """How far the cells are that are running, here or elsewhere."""
    table = Table.grid(padding=(0, 1))
    estimate = Estimate(loop.entries)
    for entry in (*loop.entries_in("running"), *loop.entries_in("running elsewhere")):
        table.add_row(
            entry.cell.name,
            ProgressBar(1.0, entry.fraction, width=30),
            f"{entry.fraction:4.0%}",
            f"{format_left(estimate.seconds_left(entry))} left",
        )
    return table


def _failures(loop: SweepLoop) -> Table:
    """The cells that failed, with what they said last."""
    table = Table.grid(padding=(0, 1))
    failed = loop.entries_in("failed")
    for entry in failed[:FAILURES]:
        table.add_row("failed:", escape(entry.cell.name), escape(entry.message), style="red")
    if len(failed) > FAILURES:
        table.add_row("", f"and {len(failed) - FAILURES} more")
    return table


def count_states(loop: SweepLoop, runs: Path) -> str:
    """Such as "44 cells in runs/study: 20 finished, 22 to do"."""
    counts = {state: len(loop.entries_in(state)) for state in STATES}
    shown = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    return f"{len(loop.entries)} cells in {runs}: {shown}"


def explain_states(loop: SweepLoop) -> str:
    """A line for each cell that failed, and for each pair that is unsupported; ends them."""
    lines = []
    for entry in loop.entries_in("failed"):
        log = entry.cell.path / LOG
        more = f" (more in {log})" if log.exists() else ""
        lines.append(f"failed: {entry.cell.name}: {entry.message}{more}\n")
    for entry in loop.entries_in("left out"):
        config = entry.cell.setup.config
        pair = f"{config.method} with {config.agent} on {config.sequence_name}"
        lines.append(f"left out: {pair} is unsupported: {entry.message}\n")
    return "".join(dict.fromkeys(lines))


def list_cells(loop: SweepLoop) -> str:
    """A table of all cells: how they stand, and what they took or may take."""
    estimate = Estimate(loop.entries)
    rows = []
    for entry in loop.entries:
        if entry.state == "finished":
            took = format_seconds(entry.seconds)
        elif entry.state in ("failed", "left out"):
            took = "-"
        else:
            took = format_left(estimate.seconds_left(entry))
        rows.append([entry.cell.name, entry.state, took])
    return format_table(["cell", "state", "time"], rows)


def format_left(seconds: float | None) -> str:
    """Such as "about 1 h 40 min"."""
    return "unknown time" if seconds is None else f"about {format_seconds(seconds)}"


def _count(entries: Iterable[Entry], states: Iterable[State]) -> list[str]:
    """How many of the entries are in each of the states, nothing for none."""
    found = [entry.state for entry in entries]
    return [str(found.count(state) or "") for state in states]
