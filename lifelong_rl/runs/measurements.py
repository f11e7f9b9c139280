"""What a run has measured so far, and the results made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Component
from lifelong_rl.metrics.curves import success_over_sequence
from lifelong_rl.metrics.matrix import Curve, Matrix, compute_metrics
from lifelong_rl.runs.config import RunConfig, flatten
from lifelong_rl.runs.run_pictures import Picture, picture_matrix, picture_success
from lifelong_rl.runs.sequence import head_of, is_plain, measures_of, phases_of
from lifelong_rl.runs.setup import Setup, describe_phase
from lifelong_rl.storage.state_tree import tensor_bytes
from lifelong_rl.storage.versions import versions

SO_FAR = "so_far/"
"""Begins the names of metrics of the tasks learned so far."""
SHOWN = (
    "average_performance",
    "learned_performance",
    "forgetting",
    "forgetting_chaudhry",
    "backward_transfer",
    "forward_transfer",
    "retention",
)
"""Metrics that a run logs after each task."""


@dataclass
class Measurements:
    """Measurements, one entry per phase or, where said, per row of the performance matrix.

    Attributes:
        performance: Rows of the performance matrix.
        returns: Mean returns, the same rows.
        outcomes: What came of each episode, the same rows, see `Evaluation.outcomes`; None for rows
            of an earlier version, which did not keep it.
        curves: "steps", "success" and "return" of what each phase learns, while it does. Where
            success is not what is measured, "success" is what is.
        learn_seconds: Time spent learning in each phase.
        learn_cpu_seconds: Of that, what this process computed; None of an earlier version.
        evaluate_seconds: Time spent evaluating, for each row: before, during and after the phase.
        updates: What an update cost in each phase, see `UpdateCost.result`; None if not measured.
        parameters: Parameters of all networks, for each row.
        trainable_parameters: Those of them that are still learned, for each row.
        memory_bytes: What the method keeps from old tasks, for each row.
        diverged_training: Simulations that became unstable while learning.
        diverged_evaluation: The same while evaluating.
    """

    performance: list[list[float]] = field(default_factory=list)
    returns: list[list[float]] = field(default_factory=list)
    outcomes: list[list[str | list[float]] | None] = field(default_factory=list)
    curves: list[dict[str, list[float]]] = field(default_factory=list)
    learn_seconds: list[float] = field(default_factory=list)
    learn_cpu_seconds: list[float | None] = field(default_factory=list)
    evaluate_seconds: list[float] = field(default_factory=list)
    updates: list[dict[str, float] | None] = field(default_factory=list)
    parameters: list[int] = field(default_factory=list)
    trainable_parameters: list[int] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)
    diverged_training: int = 0
    diverged_evaluation: int = 0

    def __post_init__(self) -> None:
        """Take over what a checkpoint of an earlier version holds.

        It did not time updates, count what was computed, or keep what came of each episode.
        """
        for _ in range(len(self.performance) - len(self.outcomes)):
            self.outcomes.insert(0, None)
        for _ in range(len(self.learn_seconds) - len(self.learn_cpu_seconds)):
            self.learn_cpu_seconds.insert(0, None)
        for _ in range(len(self.learn_seconds) - len(self.updates)):
            self.updates.insert(0, None)

    @property
    def phases_done(self) -> int:
        """Phases learned and evaluated."""
        return max(len(self.performance) - 1, 0)

    def add_size(self, components: Iterable[Component], method: ContinualMethod) -> None:
        """Note how large the networks and the method's memory are."""
        parameters = {
            id(parameter): parameter
            for component in components
            for parameter in component.module.parameters()
        }.values()
        self.parameters.append(sum(p.numel() for p in parameters))
        self.trainable_parameters.append(sum(p.numel() for p in parameters if p.requires_grad))
        self.memory_bytes.append(tensor_bytes(method.state_dict()))

    def so_far(self, setup: Setup) -> dict[str, float]:
        """The sizes, and what of `SHOWN` is defined: as if the sequence ended here."""
        found: dict[str, float] = {
            "cost/parameters": self.parameters[-1],
            "cost/memory_bytes": self.memory_bytes[-1],
        }
        if self.phases_done:
            phases = [phase.tasks for phase in setup.phases[: self.phases_done]]
            learned = sorted({task for tasks in phases for task in tasks})
            matrix = [[row[task] for task in learned] for row in self.performance]
            phases = [tuple(map(learned.index, tasks)) for tasks in phases]
            measures = [measures_of(setup.sequence)[task] for task in learned]
            metrics = measure(matrix, self.success_curves, phases, measures)
            found |= {SO_FAR + n: metrics[n] for n in SHOWN if metrics[n] is not None}
        return found

    def pictures(self, setup: Setup) -> dict[str, Picture]:
        """The performance matrix and the success over the sequence so far, as pictures."""
        phases = [phase.tasks for phase in setup.phases]
        curves = success_over_sequence(self.performance, self.success_curves, setup.starts, phases)
        lowest, highest = scale_of(self.performance, measures_of(setup.sequence))
        return {
            "performance_matrix": picture_matrix(
                self.performance, setup.labels, len(phases), lowest, highest
            ),
            "success_over_sequence": picture_success(
                curves, setup.labels, setup.starts, lowest, highest
            ),
        }

    @property
    def success_curves(self) -> list[Curve]:
        """Success on each task while it was learned."""
        return [Curve(curve["steps"], curve["success"]) for curve in self.curves]


def describe_run(config: RunConfig) -> dict[str, Any]:
    """What tells a run from others, each option by its own name: numbers, text and truth values."""
    content = {**flatten(config), "sequence": config.sequence_name}
    names = ("sequence", "order", "agent", "method", "seed", "steps_per_task", "labels", "num_envs")
    told = {name: content[name] for name in content if name in names or "_options." in name}
    return {
        name: value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
        for name, value in told.items()
    }


def one_scale(measures: Sequence[str]) -> bool:
    """Whether what is measured on tasks can be averaged: all of it in [0, 1], or all returns."""
    return len({measure == "return" for measure in measures}) == 1


def scale_of(matrix: Matrix, measures: Sequence[str]) -> tuple[float, float]:
    """The lowest and the highest value that a figure has to show."""
    if "return" not in measures:
        return 0.0, 1.0
    values = np.asarray(matrix, dtype=float)
    lowest, highest = float(values.min()), float(values.max())
    return lowest, highest if highest > lowest else lowest + 1.0


def measure(
    matrix: Matrix,
    curves: Sequence[Curve],
    phases: Sequence[Sequence[int]],
    measures: Sequence[str],
) -> dict[str, Any]:
    """All metrics by name; None where a mean over tasks would mix success and returns.

    Args:
        matrix: See `compute_metrics`.
        curves: See `compute_metrics`.
        phases: The columns that each phase learns.
        measures: What is measured in each column.
    """
    bounded = "return" not in measures
    found = compute_metrics(matrix, curves, phases=phases, bounded=bounded)
    if one_scale(measures):
        return found
    return {name: value if isinstance(value, list) else None for name, value in found.items()}


def make_results(measured: Measurements, setup: Setup) -> dict[str, Any]:
    """The content of `results.json`.

    What the agent sees with stands among its options, so that runs which see with other eyes are
    never taken for seeds of one.

    Args:
        measured: What was measured.
        setup: What was run.
    """
    config, sequence = setup.config, setup.sequence
    labels, measures = setup.phase_labels, measures_of(sequence)
    phases = [phase.tasks for phase in setup.phases]
    seconds = [
        {
            "task": label,
            "learn": round(learn, 3),
            "learn_cpu": None if cpu is None else round(cpu, 3),
            "evaluate": round(evaluate, 3),
        }
        for label, learn, cpu, evaluate in zip(
            labels,
            measured.learn_seconds,
            measured.learn_cpu_seconds,
            measured.evaluate_seconds[1:],
            strict=True,
        )
    ]
    more: dict[str, Any] = {}
    # as the sequence announces them: where tasks interleave, the run begins each by itself
    listed = [
        replace(phase, announced=own.announced)
        for phase, own in zip(setup.phases, phases_of(sequence), strict=True)
    ]
    if not is_plain(listed):
        more["phases"] = [
            {"label": label, **describe_phase(phase)}
            for label, phase in zip(labels, listed, strict=True)
        ]
    heads = [head_of(sequence, task) for task in range(sequence.num_tasks)]
    if heads != list(range(sequence.num_tasks)):
        more["heads"] = heads
    if set(measures) != {"success"}:
        more["measures"] = list(measures)
    if None not in measured.outcomes:
        more["episodes"] = measured.outcomes
    return {
        "sequence": config.sequence_name,
        "tasks": list(setup.labels),
        "task_versions": sequence.versions(),
        **more,
        "agent": config.agent,
        "agent_options": {**config.as_dict()["agent_options"], **setup.sight},
        "method": config.method,
        "method_options": config.as_dict()["method_options"],
        "seed": config.seed,
        **({} if config.labels is None else {"labels": config.labels}),
        "performance_matrix": measured.performance,
        "return_matrix": measured.returns,
        "eval_starts": config.eval_starts,
        "protocol": config.protocol,
        "success_curves": dict(zip(labels, measured.curves, strict=True)),
        "metrics": measure(measured.performance, measured.success_curves, phases, measures),
        "cost": {
            "parameters": measured.parameters[-1],
            "trainable_parameters": measured.trainable_parameters[-1],
            "memory_bytes": measured.memory_bytes[-1],
            "parameters_after_each_task": measured.parameters,
            "memory_bytes_after_each_task": measured.memory_bytes,
            "updates": [
                {"task": label, **_rounded(cost)} if cost else None
                for label, cost in zip(labels, measured.updates, strict=True)
            ],
            "seconds_per_task": seconds,
            "seconds": round(sum(measured.learn_seconds) + sum(measured.evaluate_seconds), 3),
        },
        "budget": {
            "steps_per_task": config.steps_per_task or max(setup.phase_steps),
            "num_envs": config.num_envs,
            "eval_episodes": config.eval_episodes,
            "curve_episodes": config.curve_episodes,
            "eval_points": config.eval_points,
        },
        "diverged": {
            "training": measured.diverged_training,
            "evaluation": measured.diverged_evaluation,
        },
        "versions": versions(),
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 7) for name, value in values.items()}
