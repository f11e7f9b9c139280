"""Finished runs on disk: found and read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl.errors import UserError
from lifelong_rl.former_options import update_fields
from lifelong_rl.metrics.matrix import Curve, learning_rows
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder

BUDGET = ("steps_per_task", "num_envs", "eval_episodes", "curve_episodes", "eval_points")


@dataclass(frozen=True, eq=False)
class Run:
    """What a finished run tells.

    Attributes:
        path: Its folder.
        config: What it was told to do.
        sequence: Name of the sequence.
        order: Seed that shuffled its tasks, if one did.
        tasks: In the order of learning; repeated ones are told apart.
        agent: Learner.
        agent_options: All of its options.
        method: Continual method.
        method_options: All of its options.
        seed: Of the run.
        matrix: Performance matrix, (P + 1, T).
        curves: Success curve of what each phase learned, while it did.
        phases: The columns that each phase learned.
        phase_labels: What the phases are called.
        phase_steps: Environment steps of each phase.
        announced: Whether agent and method were told of each phase.
        heads: The head that each task was learned with.
        measures: What is measured on each task: "success", "score" or "return".
        budget: The numbers called `BUDGET`; and "labels", how much of the training data is
            labelled: a share, or a number of each class, where it is not "all" of it.
        eval_starts: How the evaluation episodes start: "validation" or "test".
        protocol: Version of the protocol that it follows, if it follows one.
        outcomes: Success of each evaluation episode, (P + 1, T, episodes) of bool; None where
            something else is measured, and of runs that did not keep it.
        task_versions: Version of each task.
        versions: Of all that can change the numbers, by package; None of one that is not there.
        mujoco: Version of MuJoCo, "None" without it.
        parameters: Of all networks, at the end.
        memory_bytes: What the method keeps of old tasks, at the end.
        learn_seconds: Time spent learning in each phase.
        cpu_seconds: Of that, what the process computed in all phases; NaN if it is not known.
        update_ratios: Time of an update in each phase over that of plain fine-tuning; NaN where it
            was not measured.
    """

    path: Path
    config: RunConfig
    sequence: str
    order: int | None
    tasks: tuple[str, ...]
    agent: str
    agent_options: Mapping[str, Any]
    method: str
    method_options: Mapping[str, Any]
    seed: int
    matrix: np.ndarray
    curves: tuple[Curve, ...]
    phases: tuple[tuple[int, ...], ...]
    phase_labels: tuple[str, ...]
    phase_steps: tuple[int, ...]
    announced: tuple[bool, ...]
    heads: tuple[int, ...]
    measures: tuple[str, ...]
    budget: Mapping[str, float | str]
    eval_starts: str
    protocol: str | None
    outcomes: np.ndarray | None
    task_versions: Mapping[str, str]
    versions: Mapping[str, str | None]
    mujoco: str
    parameters: int
    memory_bytes: int
    learn_seconds: tuple[float, ...]
    cpu_seconds: float
    update_ratios: tuple[float, ...]

    @property
    def is_plain(self) -> bool:
        """Whether each task was learned once, in order, told of, and for equally many steps."""
        in_order = self.phases == tuple((j,) for j in range(len(self.tasks)))
        told = all(self.announced) and self.heads == tuple(range(len(self.tasks)))
        return in_order and told and len(set(self.phase_steps)) == 1

    @property
    def starts(self) -> tuple[int, ...]:
        """Steps before each phase, and before the end, (P + 1,)."""
        return (0, *accumulate(self.phase_steps))


@dataclass(frozen=True)
class LeftOut:
    """A folder that is not part of a comparison.

    Attributes:
        path: The folder.
        reason: Why.
    """

    path: Path
    reason: str


def find_runs(paths: Iterable[Path]) -> tuple[list[Run], list[LeftOut]]:
    """The finished runs in some folders, at any depth, and what was left out.

    Of several copies of a run the first counts: they would make the interval too small.

    Raises:
        UserError: One of the folders does not exist.
    """
    runs: dict[str, Run] = {}
    left_out: list[LeftOut] = []
    for path in _find_folders(paths, left_out):
        try:
            run = read_run(path)
        except UserError as error:
            left_out.append(LeftOut(path, str(error)))
            continue
        except OSError as error:
            left_out.append(LeftOut(path, f"cannot be read: {error.strerror}"))
            continue
        same = runs.setdefault(_identity(run), run)
        if same is not run:
            left_out.append(LeftOut(path, f"the same run, seed {run.seed}, as {same.path}"))
    return list(runs.values()), left_out


def read_run(path: Path) -> Run:
    """The finished run in a folder.

    Raises:
        UserError: There is none, or its results are not what a run writes.
    """
    folder = RunFolder.open(path)
    results = folder.results()
    if not results:
        raise UserError(_why_unfinished(folder))
    try:
        return _parse(path, folder.config, results)
    except KeyError as error:
        raise UserError(f"cannot read {path / 'results.json'}: it lacks {error}") from error
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot read {path / 'results.json'}: {reason}") from error


def _find_folders(paths: Iterable[Path], left_out: list[LeftOut]) -> Iterable[Path]:
    """Folders that look like runs, each once; a path that holds none is added to `left_out`."""
    seen = set()

    def leave_out(error: OSError) -> None:
        if not isinstance(error, NotADirectoryError):  # reported below
            left_out.append(LeftOut(Path(error.filename), f"cannot be read: {error.strerror}"))

    for path in paths:
        if not path.exists():
            raise UserError(f"there is no folder {path}")
        found = False
        for place, folders, files in os.walk(path, onerror=leave_out):
            folders.sort()
            if "config.yaml" in files or "results.json" in files:
                folders.clear()
                found = True
                if (resolved := Path(place).resolve()) not in seen:
                    seen.add(resolved)
                    yield Path(place)
        if not found and not any(one.path == path for one in left_out):
            left_out.append(LeftOut(path, "holds no run" if path.is_dir() else "is not a folder"))


def _why_unfinished(folder: RunFolder) -> str:
    status = folder.status()
    state = status.get("status")
    if state in ("failed", "interrupted"):
        return f"not finished: {state}, {status.get('message') or 'no message'}"
    return "not finished: still running, or killed"


def _parse(path: Path, config: RunConfig, results: Mapping[str, Any]) -> Run:
    tasks = tuple(str(task) for task in results["tasks"])
    made_with = update_fields({**results, **results["budget"]}, complete=True)
    budget: dict[str, Any] = {name: int(made_with[name]) for name in BUDGET}
    budget["labels"] = _parse_labels(results.get("labels", "all"))
    told = results.get("phases") or [
        {"label": task, "tasks": [j], "steps": budget["steps_per_task"], "announced": True}
        for j, task in enumerate(tasks)
    ]
    phases = tuple(tuple(int(j) for j in phase["tasks"]) for phase in told)
    labels = tuple(str(phase["label"]) for phase in told)
    learning_rows(len(tasks), phases)
    measures = tuple(map(str, results.get("measures") or ["success"] * len(tasks)))
    matrix = np.array(results["performance_matrix"], dtype=float)
    if not tasks or matrix.shape != (len(phases) + 1, len(tasks)) or len(measures) != len(tasks):
        raise ValueError(f"a matrix of {matrix.shape} for {len(tasks)} tasks")
    inside = [bool(column.min() >= 0.0 and column.max() <= 1.0) for column in matrix.T]
    if not all(ok or measure == "return" for ok, measure in zip(inside, measures, strict=True)):
        raise ValueError("success outside [0, 1]")
    if not np.isfinite(matrix).all():
        raise ValueError("a return that is not finite")
    bounded = [all(measures[j] != "return" for j in phase) for phase in phases]
    cost = results["cost"]
    seconds = {str(entry["task"]): entry["learn"] for entry in cost["seconds_per_task"]}
    timed = [entry for entry in cost.get("updates") or () if entry is not None]
    ratios = {str(entry["task"]): entry.get("ratio") for entry in timed}
    return Run(
        path=path,
        config=config,
        sequence=str(results["sequence"]),
        order=config.order,
        tasks=tasks,
        agent=str(results["agent"]),
        agent_options=dict(made_with["agent_options"]),
        method=str(results["method"]),
        method_options=made_with["method_options"],
        seed=int(results["seed"]),
        matrix=matrix,
        curves=tuple(
            _parse_curve(results["success_curves"][label], within)
            for label, within in zip(labels, bounded, strict=True)
        ),
        phases=phases,
        phase_labels=labels,
        phase_steps=tuple(int(phase["steps"]) for phase in told),
        announced=tuple(bool(phase["announced"]) for phase in told),
        heads=tuple(map(int, results.get("heads") or range(len(tasks)))),
        measures=measures,
        budget=budget,
        eval_starts=str(results.get("eval_starts", "validation")),
        protocol=None if (protocol := results.get("protocol")) is None else str(protocol),
        outcomes=_parse_outcomes(results.get("episodes"), matrix),
        task_versions={task: str(v) for task, v in results["task_versions"].items()},
        versions=dict(results["versions"]),
        mujoco=str(results["versions"]["mujoco"]),
        parameters=int(cost["parameters"]),
        memory_bytes=int(cost["memory_bytes"]),
        learn_seconds=tuple(_positive(seconds[label]) for label in labels),
        cpu_seconds=sum(_positive(entry.get("learn_cpu")) for entry in cost["seconds_per_task"]),
        update_ratios=tuple(_positive(ratios.get(label)) for label in labels),
    )


def _parse_labels(amount: Any) -> float | str:
    share = type(amount) is float and 0.0 < amount < 1.0
    number = type(amount) is int and amount >= 1
    if not (amount == "all" or share or number):
        raise ValueError(f"labels of {amount!r}")
    found: float | str = amount
    return found


def _parse_curve(curve: Mapping[str, Any], bounded: bool) -> Curve:
    steps, success = (np.array(curve[name], dtype=float) for name in ("steps", "success"))
    if steps.shape != success.shape or steps.ndim != 1 or len(steps) < 2:
        raise ValueError(f"a success curve of {steps.shape} steps and {success.shape} values")
    inside = (success >= 0.0) & (success <= 1.0) if bounded else np.isfinite(success)
    if not (np.diff(steps) > 0).all() or not inside.all():
        raise ValueError("a success curve that goes back, or outside [0, 1]")
    return Curve(tuple(steps), tuple(success))


def _parse_outcomes(episodes: Any, matrix: np.ndarray) -> np.ndarray | None:
    """Success of each episode, once it makes the matrix."""
    if episodes is None or not all(isinstance(told, str) for row in episodes for told in row):
        return None
    found = np.array([[[letter == "1" for letter in told] for told in row] for row in episodes])
    if found.shape[:-1] != matrix.shape or not np.allclose(found.mean(axis=-1), matrix, atol=1e-9):
        raise ValueError("episodes that are not those of the matrix")
    return found


def _positive(value: float | None) -> float:
    """A duration, or a ratio of two; NaN where it was not measured."""
    if value is None:
        return math.nan
    if not 0.0 <= float(value) < math.inf:
        raise ValueError(f"a time of {value}")
    return float(value)


def _identity(run: Run) -> str:
    """All that decides the numbers of a run."""
    facts: tuple[Any, ...] = (
        run.sequence,
        run.tasks,
        run.agent,
        run.agent_options,
        run.method,
        run.method_options,
    )
    if not run.is_plain:
        facts = (*facts, run.phases, run.phase_steps, run.announced, run.heads)
    return key_of([*facts, run.seed, run.budget, run.eval_starts, run.task_versions, run.mujoco])


def key_of(value: Any) -> str:
    """JSON that is equal for equal values: 1000 and 1000.0 are."""
    plain = json.loads(json.dumps(value), parse_float=_shortest)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def _shortest(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number
