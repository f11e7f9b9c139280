"""Which runs belong together: kept apart where they must not be mixed, and grouped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lifelong_rl.analysis.regimes import rung
from lifelong_rl.analysis.runs import Run, key_of
from lifelong_rl.metrics.matrix import Curve

MIXABLE = ("mujoco", "tasks", "budget")
"""What runs of a section have in common, unless the user says otherwise."""
SET_BY_JOINT = ("reset_buffer", "reset_optimizers")
"""Agent options that the method "joint" changes; they make no regime of their own."""
METHODS_FIRST, METHODS_LAST = ("finetune",), ("joint", "single-task")


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in nothing but their seeds.

    Attributes:
        runs: By seed.
        method: Continual method.
        method_label: The same, with the options in which groups of this method differ; equal for
            two groups of a section where method and options are.
        agent: Learner.
        agent_label: The same for the learner.
    """

    runs: tuple[Run, ...]
    method: str
    method_label: str
    agent: str
    agent_label: str


def group_runs(runs: Iterable[Run], mix: Collection[str] = ()) -> list[list[Group]]:
    """Groups of runs that differ only in their seeds, in one list for each section.

    A section holds runs of one sequence in one order that have all of `MIXABLE` in common; of
    several sections of a sequence in one order the one with the most runs is the first. Groups are
    sorted by method, with fine-tuning first and references last, and then by the rung of their
    learner.

    Args:
        runs: The runs.
        mix: Which of `MIXABLE` may differ within a section.
    """
    sections: dict[tuple[Any, ...], dict[str, list[Run]]] = {}
    for run in runs:
        alike = sections.setdefault(_stream(run), {})
        alike.setdefault(key_of(_facts(run, mix)), []).append(run)
    return [
        _group_section(sections[key][facts])
        for key in sorted(sections)
        for facts in sorted(sections[key], key=lambda f: (-len(sections[key][f]), f))
    ]


def _stream(run: Run) -> tuple[Any, ...]:
    """What was learned in turn."""
    return (run.sequence, run.tasks, run.phases, run.measures)


def tell_apart(sections: Sequence[Sequence[Group]], mix: Collection[str] = ()) -> list[str]:
    """What each section has that others of its sequence and order have not.

    Args:
        sections: See `group_runs`.
        mix: As there.

    Returns:
        For each section the facts, such as "steps_per_task 1000"; empty where it is the only one.
    """
    first = [groups[0].runs[0] for groups in sections]
    told = []
    for run in first:
        others = [o for o in first if (o.sequence, o.tasks) == (run.sequence, run.tasks)]
        facts = [_flat(other, mix) for other in others]
        own = _flat(run, mix)
        names = [name for name in own if len({key_of(f.get(name)) for f in facts}) > 1]
        told.append(", ".join(f"{name} {own[name]}" for name in names))
    return told


def note_mixtures(sections: Sequence[Sequence[Group]], mix: Collection[str] = ()) -> list[str]:
    """A line for all that runs of a sequence in one order differ in: put together, or kept apart.

    Args:
        sections: See `group_runs`.
        mix: As there.
    """
    lines = []
    first_of: dict[tuple[str, tuple[str, ...]], Run] = {}
    for run in (run for groups in sections for group in groups for run in group.runs):
        first = first_of.setdefault((run.sequence, run.tasks), run)
        for kind, difference in _differences(first, run).items():
            end = (
                "between runs that are compared"
                if kind in mix
                else f"between sections; --mix {kind} puts them together"
            )
            lines.append(f"{run.sequence}: the {difference} {end}")
    return list(dict.fromkeys(lines))


def _facts(run: Run, mix: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """What runs of a section have in common, by kind."""
    facts: dict[str, Mapping[str, Any]] = {
        "mujoco": {"MuJoCo": run.mujoco},
        "tasks": run.task_versions,
        "budget": {
            **run.budget,
            "eval_starts": run.eval_starts,
            **({} if run.is_plain else _phases(run)),
        },
    }
    return {kind: found for kind, found in facts.items() if kind not in mix}


def _phases(run: Run) -> dict[str, str]:
    """What each phase learned, for how long, and what was told of it.

    Such as "reach 5000, push 10000 unannounced"; and where it is not one for each task, the heads.
    """
    named = zip(run.phase_labels, run.phase_steps, run.announced, strict=True)
    told = [
        f"{label} {steps}{'' if announced else ' unannounced'}" for label, steps, announced in named
    ]
    heads = {"heads": ", ".join(map(str, run.heads))}
    own = run.heads == tuple(range(len(run.tasks)))
    return {"phases": ", ".join(told), **({} if own else heads)}


def relate_returns(runs: Sequence[Run]) -> list[Run]:
    """The same runs with returns mapped to [0, 1], task by task.

    0 is the lowest return on the task that a matrix of these runs holds, and 1 the highest. So
    more or other runs change the scale; the results of each run keep the returns.

    Args:
        runs: Of one section.
    """
    measures = runs[0].measures
    if "return" not in measures:
        return list(runs)
    found = np.concatenate([run.matrix for run in runs])
    raw = np.array([measure == "return" for measure in measures])
    low = np.where(raw, found.min(axis=0), 0.0)
    span = np.where(raw, found.max(axis=0) - low, 1.0)
    span[span == 0.0] = 1.0

    def relate(curve: Curve, tasks: Sequence[int]) -> Curve:
        offset, scale = float(low[list(tasks)].mean()), float(span[list(tasks)].mean())
        return Curve(curve.steps, [(value - offset) / scale for value in curve.success])

    return [
        replace(
            run,
            matrix=(run.matrix - low) / span,
            curves=tuple(map(relate, run.curves, run.phases)),
        )
        for run in runs
    ]


def _flat(run: Run, mix: Collection[str]) -> dict[str, Any]:
    return {name: value for facts in _facts(run, mix).values() for name, value in facts.items()}


def _differences(first: Run, run: Run) -> dict[str, str]:
    """What two runs of a sequence differ in: by kind, in words."""
    found = {}
    others = _facts(run, ())
    for kind, one in _facts(first, ()).items():
        other = others[kind]
        told = [
            f"{name} {one.get(name)} and {other.get(name)}"
            for name in dict.fromkeys((*one, *other))
            if one.get(name) != other.get(name)
        ]
        if told:
            found[kind] = f"{kind} differs ({', '.join(told)})"
    return found


def _group_section(runs: Sequence[Run]) -> list[Group]:
    runs = relate_returns(runs)
    groups: dict[tuple[tuple[str, str], tuple[str, str]], list[Run]] = {}
    methods: dict[tuple[str, str], Mapping[str, Any]] = {}
    agents: dict[tuple[str, str], Mapping[str, Any]] = {}
    regimes = _regimes(runs)
    for run in runs:
        options = _regime_options(run, regimes)
        method, agent = (run.method, key_of(run.method_options)), (run.agent, key_of(options))
        groups.setdefault((method, agent), []).append(run)
        methods[method], agents[agent] = run.method_options, options
    method_labels, agent_labels = _labels(methods), _labels(agents)
    return sorted(
        (
            Group(
                runs=tuple(sorted(found, key=lambda run: run.seed)),
                method=method[0],
                method_label=method_labels[method],
                agent=agent[0],
                agent_label=agent_labels[agent],
            )
            for (method, agent), found in groups.items()
        ),
        key=lambda group: (
            _method_rank(group.method),
            group.method_label,
            rung(group.agent),
            group.agent_label,
        ),
    )


def _regimes(runs: Iterable[Run]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Different options of agents, by agent and what the method "joint" leaves of them."""
    found: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for run in runs:
        if not _is_joint(run):
            alike = found.setdefault((run.agent, _kept(run.agent_options)), {})
            alike.setdefault(key_of(run.agent_options), run.agent_options)
    return {kept: list(alike.values()) for kept, alike in found.items()}


def _regime_options(
    run: Run, regimes: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
) -> Mapping[str, Any]:
    """The options of a run's agent; with "joint", those of the regime that it belongs to."""
    if not _is_joint(run):
        return run.agent_options
    fitting = regimes.get((run.agent, _kept(run.agent_options)), ())
    return fitting[0] if len(fitting) == 1 else run.agent_options


def _kept(options: Mapping[str, Any]) -> str:
    return key_of({name: options[name] for name in options if name not in SET_BY_JOINT})


def _is_joint(run: Run) -> bool:
    return "joint" in run.method.split("+")


def _method_rank(method: str) -> tuple[int, str]:
    return (method not in METHODS_FIRST) + (method in METHODS_LAST), method


def _labels(options: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """A label for each (name, key) pair: the name, and the options that not all of it share."""
    labels = {}
    for name, key in options:
        variants = [found for (other, _), found in options.items() if other == name]
        differing = [
            option
            for option in options[name, key]
            if len({key_of([option in v, v.get(option)]) for v in variants}) > 1
        ]
        told = ", ".join(f"{option}={key_of(options[name, key][option])}" for option in differing)
        labels[name, key] = f"{name} ({told})" if told else name
    return labels
