"""Tiny runs that faults are tried on, and what is left of them beside one that met none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
from toy_runs import PLUGIN, TOY, metric_lines, results, without_speed

TINY = ("--steps-per-task", "40", "--num-envs", "4", "--eval-episodes", "4", "--eval-points", "2")


@dataclass(frozen=True)
class Subject:
    """A run that faults are tried on.

    Attributes:
        name: For the counts.
        choices: Words of `run` that say what it is.
        plugin: Words that name its plug-ins.
    """

    name: str
    choices: tuple[str, ...]
    plugin: tuple[str, ...] = ()

    def run(self, path: Path) -> list[str]:
        """The command that begins it in a folder."""
        return ["run", *self.choices, *TINY, "--run-dir", str(path), "--quiet"]

    def go_on(self, path: Path) -> list[str]:
        """The command after a fault: it resumes, or begins where nothing has begun."""
        if not (path / "config.yaml").exists():
            return self.run(path)
        return ["resume", str(path), *self.plugin, "--quiet"]


SUBJECTS = {
    "toy": Subject("toy", (*TOY, "--method", "ewc"), tuple(PLUGIN)),
    "classifier": Subject(
        "classifier", ("--sequence", "split-digits", "--agent", "classifier", "--method", "replay")
    ),
    "sac": Subject(
        "sac",
        (
            *("--sequence", "reach,button-press", "--agent", "sac", "--method", "agem"),
            *("--agent-options", "learning_starts=8", "batch_size=8"),
        ),
    ),
}


@dataclass(frozen=True)
class Reference:
    """A run that met no fault.

    Attributes:
        subject: What was run.
        path: Its folder.
        entered: How often each phase began.
        seconds: How long it took.
    """

    subject: Subject
    path: Path
    entered: dict[str, int]
    seconds: float


def make_reference(subject: Subject, folder: Path) -> Reference:
    """Run a subject undisturbed, twice: the first time warms up what forks will share."""
    from lifelong_rl.cli import main

    if main(subject.run(folder / f"{subject.name}-warm")):
        raise RuntimeError(f"{subject.name} cannot be run")
    path = folder / subject.name
    child = forked.start(subject.run(path), folder / f"{subject.name}.out")
    if child.wait():
        raise RuntimeError("\n".join(child.lines))
    entered = {phase: child.board.entered(phase) for phase in forked.PHASES}
    return Reference(subject, path, entered, child.seconds)


def finish(reference: Reference, path: Path, output: Path | None = None) -> list[str]:
    """Go on with a run until its end, and tell what is wrong with it then."""
    child = forked.start(reference.subject.go_on(path), output or path.with_suffix(".out"))
    if child.wait():
        return [f"going on ended with {child.code}: {' | '.join(child.lines[-3:])}"]
    return [*differences(path, reference.path)]


def differences(path: Path, reference: Path) -> Iterator[str]:
    """What is different in two runs that should be equal to the last bit."""
    found, expected = _facts(results(path)), _facts(results(reference))
    for key in expected:
        if found.get(key) != expected[key]:
            yield f"results.json: {key} is {found.get(key)}, not {expected[key]}"
    if without_speed(metric_lines(path)) != without_speed(metric_lines(reference)):
        yield "metrics.jsonl differs"
    if json.loads((path / "status.json").read_text())["status"] != "finished":
        yield "status.json does not say finished"
    if (left := _files(path) ^ _files(reference)) != set():
        yield f"there are other files: {sorted(left)}"
    yield from changed_checkpoints(path, reference)


def changed_checkpoints(path: Path, reference: Path) -> Iterator[str]:
    """Checkpoints whose parameters are not those of the other run."""
    for name in checkpoints(path):
        place = Path("checkpoints", name, "state.safetensors")
        if (path / place).read_bytes() != (reference / place).read_bytes():
            yield f"{place} differs"


def checkpoints(path: Path) -> Sequence[str]:
    """Names of the checkpoints that are there."""
    return sorted(entry.name for entry in path.glob("checkpoints/task-???"))


def temporary_files(path: Path) -> list[str]:
    """What interrupted writes have left."""
    return [str(entry.relative_to(path)) for entry in path.rglob("*.tmp")]


def _facts(content: dict[str, Any]) -> dict[str, Any]:
    """Results without what is measured in seconds."""
    cost = {key: content["cost"][key] for key in ("parameters", "memory_bytes")}
    return {**content, "cost": cost}


def _files(path: Path) -> set[str]:
    """All files but TensorBoard's, which have other names in each session."""
    names = (entry.relative_to(path) for entry in path.rglob("*") if entry.is_file())
    return {str(name) for name in names if name.parts[0] != "tb"}
