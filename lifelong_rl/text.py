"""Text for terminals and reports: tables, sizes, durations, matrices and words of commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that break a line, steer a terminal or cannot be written."""

FITTING = 8
"""Tasks of which the matrix fits on a screen of 80 by 24, with all that is below it."""


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns separated by two spaces, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in [header, *rows]
    )


def is_one_line(text: str) -> bool:
    """Whether a text is one line and neither steers a terminal nor holds half a character."""
    return _CONTROL.search(text) is None


def one_line(text: str) -> str:
    """A text as one line: escapes for characters that `is_one_line` refuses."""
    joined = " ".join(line.strip() for line in text.splitlines())
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], joined)


def shorten(value: object, most: int = 100) -> str:
    """The `repr` of a value as one line of at most so many letters."""
    try:
        shown = " ".join(repr(value).split())
    except ValueError:  # Python spells no whole number of more than 4300 digits
        return "a number of thousands of digits"
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def quote(word: object) -> str:
    """A word, such as a path, as it stands in a command that can be copied into a shell."""
    return shlex.quote(str(word))


def format_size(count: float) -> str:
    """Bytes, such as "7.7 MB" or "36.9 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def format_seconds(seconds: float) -> str:
    """Such as "42 s", "3 min 05 s" or "2 h 10 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_score(value: float) -> str:
    """A success, a score or a return."""
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def format_success(
    tasks: Sequence[str],
    matrix: Sequence[Sequence[float]],
    learned: Sequence[float] | None = None,
    measure: str = "success",
) -> str:
    """The performance matrix; where it is too large for a screen, of what most was forgotten.

    Args:
        tasks: Names of its columns, (T,).
        matrix: Its rows, the first of them before any learning.
        learned: Success on each task right after it was learned; by default the tasks are learned
            in their order.
        measure: What its numbers are.
    """
    if learned is None:
        learned = [matrix[j + 1][j] for j in range(len(tasks))]
    if max(len(tasks), len(matrix) - 1) <= FITTING:
        what = "each task" if len(matrix) == len(tasks) + 1 else "each phase"
        title = f"{measure} of each task (row) before learning, and after {what} (column):"
        header = ["task", "before", *(str(i) for i in range(1, len(matrix)))]
        columns = [*matrix]
        shown = list(range(len(tasks)))
    else:
        count = min(FITTING, len(tasks))
        title = f"{measure} on the {count} of {len(tasks)} tasks of which most was forgotten:"
        header = ["task", "before", "learned", "end"]
        columns = [matrix[0], learned, matrix[-1]]
        by_loss = sorted(range(len(tasks)), key=lambda j: matrix[-1][j] - learned[j])
        shown = sorted(by_loss[:FITTING])
    rows = [
        [f"{j + 1} {tasks[j]}", *(format_score(column[j]) for column in columns)] for j in shown
    ]
    return f"{title}\n{format_table(header, rows)}"
