"""Write docs/tasks.md, a page that tells everything about every task, and its pictures.

The manuals are the tasks' docstrings; whether the experts solve the tasks and whether SAC learns
them comes from files of measurements, where there are any:

    lifelong-rl demos --verify --json docs/results/experts.json
    python scripts/learnability.py --json docs/results/learnability.json
    python scripts/task_pages.py
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import statistics
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from contact_sheet import take_pictures
from PIL import Image

from lifelong_rl.envs.arm import controller, observation
from lifelong_rl.envs.arm.task import ArmTask
from lifelong_rl.envs.claw import observation as claw_observation
from lifelong_rl.envs.claw.task import ClawTask
from lifelong_rl.envs.task import Task
from lifelong_rl.envs.tasks import TASKS

FAMILIES: tuple[tuple[str, type[Task[Any, Any]], tuple[ModuleType, ...]], ...] = (
    ("The arm", ArmTask, (observation, controller)),
    ("The claw", ClawTask, (claw_observation,)),
)
"""Title, base class and the modules whose docstrings hold for all tasks of the robot."""
LEVEL = "0.9"
NOT_MEASURED = "not measured"
SIZE = 240, 180
"""Width and height of each camera's picture, in pixels."""

INTRODUCTION = f"""# Tasks

<!-- written by scripts/task_pages.py; change the docstrings in envs/ instead -->

*Expert*: in how many random episodes the task's scripted expert succeeds
(`lifelong-rl demos --verify`). *SAC*: what SAC with its defaults learns from scratch on this task
alone, as the mean of the last evaluations and the steps after which success stays at {LEVEL} or
more, mean and range over seeds (`python scripts/learnability.py`). Pictures: each of
the robot's cameras, at the start of an episode.
"""


class Measurements:
    """What was measured about the tasks; nothing where a file or an entry is missing or old.

    Args:
        experts: file written by ``lifelong-rl demos --verify --json``.
        learnability: file written by ``scripts/learnability.py --json``.
    """

    def __init__(self, experts: Path, learnability: Path) -> None:
        self._experts, self._learnability = map(read_json, (experts, learnability))

    def expert(self, task: Task[Any, Any]) -> str:
        """How many episodes the expert solves, such as "100 of 100"."""
        entry = self._experts.get("tasks", {}).get(task.name, {})
        if entry.get("task_version") != task.version:
            return NOT_MEASURED
        return f"{entry['solved']} of {self._experts['episodes']}"

    def learned(self, task: Task[Any, Any]) -> tuple[str, str]:
        """SAC's final success, and its steps to `LEVEL`; the second is empty without the first."""
        seeds = self._learnability.get("tasks", {}).get(task.name, {}).get("seeds", {})
        cells = [cell for cell in seeds.values() if cell.get("version") == task.version]
        if not cells:
            return NOT_MEASURED, ""
        final = f"{statistics.mean(cell['final_success'] for cell in cells):.2f}"
        steps = [cell["steps_to"][LEVEL] for cell in cells]
        return f"{final} ({count_seeds(len(cells))})", describe_steps(steps)


def describe_steps(steps: list[int | None]) -> str:
    """Mean and range of steps, and in how many seeds there are any."""
    reached = [value for value in steps if value is not None]
    if not reached:
        return f"not in {count_seeds(len(steps))}"
    text = f"{statistics.mean(reached):,.0f}"
    if len(reached) > 1:
        text += f" ({min(reached):,} to {max(reached):,})"
    if len(reached) < len(steps):
        text += f" in {len(reached)} of {count_seeds(len(steps))}"
    return text.replace(",", " ")


def count_seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


def read_json(path: Path) -> dict[str, Any]:
    """Return what a file holds, nothing if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def to_markdown(docstring: str) -> str:
    """Turn a docstring into Markdown: its tables, and without lists of parameters."""
    lines: list[str] = []
    rest = inspect.cleandoc(docstring).splitlines()
    while rest:
        line = rest.pop(0)
        if re.fullmatch(r"(Args|Attributes|Raises|Returns):", line):
            while rest and (not rest[0] or rest[0].startswith(" ")):
                rest.pop(0)
        elif re.fullmatch(r"=+( +=+)+", line):
            lines += table_to_markdown(line, rest)
        else:
            lines.append(line)
    return "\n".join(lines).strip() + "\n"


def table_to_markdown(rule: str, rest: list[str]) -> list[str]:
    """Take a simple reStructuredText table off the lines, and return it in Markdown.

    Args:
        rule: its first line.
        rest: the lines after that; those of the table are removed.
    """
    starts = [match.start() for match in re.finditer("=+", rule)]
    ends = [*starts[1:], None]
    rows: list[list[str]] = []
    rules = 1
    while rules < 3:
        line = rest.pop(0)
        if line == rule:
            rules += 1
            continue
        cells = [line[a:b].strip().replace("|", "\\|") for a, b in zip(starts, ends, strict=True)]
        if cells[0] or not rows:
            rows.append(cells)
        else:  # goes on with the row above
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    rows.insert(1, ["---"] * len(starts))
    return ["| " + " | ".join(row) + " |" for row in rows]


def describe(tasks: list[Task[Any, Any]], measurements: Measurements, pictures: str) -> list[str]:
    """Return the paragraphs about tasks of one class: their manual once, each one's picture.

    Args:
        tasks: the tasks.
        measurements: what is known about them.
        pictures: folder of the pictures, as seen from the page.
    """
    manual = to_markdown(type(tasks[0]).__doc__ or "")
    parts = [manual] if len(tasks) > 1 else []
    for task in tasks:
        success, steps = measurements.learned(task)
        learned = f"{success}; steps to {LEVEL}: {steps}" if steps else success
        parts += [
            f"### {task.name}\n",
            f"![{task.name}]({pictures}/{task.name}.png)\n",
            *([f"{task.description}\n"] if len(tasks) > 1 else []),
            f"Expert: {measurements.expert(task)}. SAC: {learned}.\n",
        ]
    return parts if len(tasks) > 1 else [*parts, manual]


def write_page(measurements: Measurements, pictures: str) -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    table = [f"| task | | expert | SAC | steps to {LEVEL} |", "|---|---|---|---|---|"]
    for task in TASKS.values():
        link = f"[{task.name}](#{task.name})"
        figures = [measurements.expert(task), *measurements.learned(task)]
        table.append("| " + " | ".join([link, task.description, *figures]) + " |")
    parts.append("\n".join(table) + "\n")
    for title, family, modules in FAMILIES:
        members = [task for task in TASKS.values() if isinstance(task, family)]
        if not members:
            continue
        parts.append(f"## {title}\n")
        parts += [to_markdown(module.__doc__ or "") for module in modules]
        for _, group in groupby(members, key=type):
            parts += describe(list(group), measurements, pictures)
    return "\n".join(parts)


def draw(task: str, path: Path, seed: int) -> None:
    """Write a task's picture: its cameras side by side."""
    pictures = take_pictures(task, dict.fromkeys(TASKS[task].cameras, SIZE), seed)
    image = Image.fromarray(np.concatenate(list(pictures.values()), axis=1))
    image.quantize(256).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/tasks.md"), help="page to write")
    parser.add_argument("--results", type=Path, default=Path("docs/results"))
    parser.add_argument("--seed", type=int, default=1, help="of the episodes in the pictures")
    parser.add_argument("--text-only", action="store_true", help="leave the pictures as they are")
    args = parser.parse_args()

    folder = args.out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    measurements = Measurements(args.results / "experts.json", args.results / "learnability.json")
    args.out.write_text(write_page(measurements, folder.name), encoding="utf-8")
    if not args.text_only:
        for task in TASKS:
            draw(task, folder / f"{task}.png", args.seed)


if __name__ == "__main__":
    main()
