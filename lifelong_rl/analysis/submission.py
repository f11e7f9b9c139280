"""From the folders of runs to rows of the leaderboard, or to all that stands in the way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lifelong_rl.analysis.rows import (
    MATRIX_FIELDS,
    TUNING,
    Row,
    SeedRun,
    default_options,
    find_problems,
)
from lifelong_rl.analysis.runs import Run, find_runs, key_of
from lifelong_rl.errors import UserError
from lifelong_rl.runs.protocol import read_protocol
from lifelong_rl.runs.run_folder import RunFolder, notes_of, versions_of
from lifelong_rl.storage.json_file import read_json


def make_rows(
    paths: Iterable[Path], tunings: Sequence[Mapping[str, Any]] = ()
) -> tuple[list[Row], list[str]]:
    """The rows that some runs make, and all that stands in the way, a sentence for each.

    Args:
        paths: Folders of runs, or folders that hold some at any depth.
        tunings: Where tuned options are from, see `read_trials`.

    Raises:
        UserError: A folder does not exist.
    """
    runs, left_out = find_runs(paths)
    problems = [f"{one.path}: {one.reason}" for one in left_out]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.protocol is None:
            problems.append(f"{run.path}: it follows no protocol; make it with --protocol")
            continue
        facts = run.protocol, run.sequence, run.agent, run.method, run.method_options
        groups.setdefault(key_of(list(facts)), []).append(run)
    rows = []
    for group in groups.values():
        group.sort(key=lambda run: run.seed)
        of_runs = [f"{run.path}: {told}" for run in group for told in _check(run)]
        if of_runs:
            problems += of_runs
            continue
        try:
            row = _make_row(group, tunings)
        except UserError as error:
            problems.append(f"{group[0].path}: {error}")
            continue
        problems += [f"{row.name}: {told}" for told in _check_together(group)]
        problems += [f"{row.name}: {told}" for told in find_problems(row)]
        rows.append(row)
    names = [row.name for row in rows]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"{name}: runs with several options; give those of one at a time")
    if not rows and not problems:
        problems.append("there are no runs")
    return rows, problems


def read_trials(path: Path) -> dict[str, Any]:
    """Where tuned options are from: what a row keeps of the `trials.json` of a tuning.

    Raises:
        UserError: It cannot be read.
    """
    try:
        content = read_json(path, TUNING)
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} holds no tuning (no {path.name})") from error
    names = ("number", "params", "state", "value")
    trials = [{name: trial[name] for name in names} for trial in content["trials"]]
    return {"tuning": content["tuning"], "trials": trials}


def _sessions(run: Run) -> list[dict[str, Any]]:
    return RunFolder(run.path, run.config).sessions()


def _check(run: Run) -> list[str]:
    """What a run lacks of what a row keeps."""
    problems = []
    if run.outcomes is None:
        problems.append("its results do not keep what came of each episode")
    if math.isnan(run.cpu_seconds):
        problems.append("its results do not tell how long it computed")
    sessions = _sessions(run)
    if not sessions:
        problems.append("its manifest tells of no session")
    for session in sessions:
        if not str(session.get("device", "cpu")).startswith("cpu"):
            problems.append(f"it learned on {session['device']}, not on the CPU")
        problems += [note for note in notes_of(session) if note.startswith("the run goes on")]
    return problems


def _check_together(runs: Sequence[Run]) -> list[str]:
    """What the runs of a row do not have in common."""
    problems = []
    commits = _all(runs, lambda session: session.get("git_commit"))
    if len(commits) > 1:
        problems.append(f"its runs were made with several commits: {', '.join(commits)}")
    versions = _all(runs, lambda session: key_of(versions_of(session)))
    if len(versions) > 1:
        problems.append("its runs were made with several versions of the packages they need")
    options = {key_of(run.agent_options) for run in runs}
    if len(options) > 1:
        problems.append("its runs have several options of the agent")
    return problems


def _all(runs: Sequence[Run], fact: Any) -> list[str]:
    """What the sessions of runs say, each once."""
    return sorted({str(fact(session)) for run in runs for session in _sessions(run)})


def _make_row(runs: Sequence[Run], tunings: Sequence[Mapping[str, Any]]) -> Row:
    """The row of runs that differ in nothing but their seeds.

    Raises:
        UserError: Their protocol is not known, or has no such track.
    """
    first = runs[0]
    assert first.protocol is not None
    protocol = read_protocol(first.protocol)
    track = protocol.find_track(first.config.sequence, first.agent)
    known = default_options(first.method, protocol)
    if known is None:
        raise UserError(f"the method '{first.method}' is not known here; name its --plugin")
    tuned = key_of(first.method_options) != key_of(known[0])
    own = [
        tuning
        for tuning in tunings
        if (tuning["tuning"].get("agent"), tuning["tuning"].get("method"))
        == (first.agent, first.method)
    ]
    if len(own) > 1:
        raise UserError(f"there are several tunings of {first.method} with {first.agent}")
    return Row(
        protocol=protocol.version,
        track=track.name,
        method=first.method,
        options="tuned" if tuned else "default",
        method_options=dict(first.method_options),
        agent_options=dict(first.agent_options),
        budget={
            **{name: first.budget[name] for name in MATRIX_FIELDS},
            "eval_starts": first.eval_starts,
            "order": first.order,
        },
        tasks=list(first.tasks),
        task_versions=dict(first.task_versions),
        versions=dict(first.versions),
        commit=_all(runs, lambda session: session.get("git_commit"))[0],
        processors=_all(runs, lambda session: session.get("cpu")),
        tuning=dict(own[0]) if own else None,
        runs=[_make_seed_run(run) for run in runs],
    )


def _make_seed_run(run: Run) -> SeedRun:
    assert run.outcomes is not None
    return SeedRun(
        seed=run.seed,
        episodes=[
            ["".join("1" if success else "0" for success in entry) for entry in row]
            for row in run.outcomes
        ],
        curve_areas=[curve.area for curve in run.curves],
        cpu_seconds=run.cpu_seconds,
        parameters=run.parameters,
        memory_bytes=run.memory_bytes,
    )
