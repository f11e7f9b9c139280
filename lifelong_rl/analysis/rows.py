"""Rows of the leaderboard: what a method came to on a track of a protocol, one file for each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl.continual import METHODS
from lifelong_rl.errors import UserError
from lifelong_rl.options import resolve_options
from lifelong_rl.registry import AGENTS
from lifelong_rl.runs.config import tell_differences
from lifelong_rl.runs.protocol import KEPT_WHEN_JOINT, MEMORY, Protocol, Track, read_protocol
from lifelong_rl.storage.atomic import write_json
from lifelong_rl.storage.json_file import Name, Shape, check_shape, read_json

JOINT = "joint"
"""The method that keeps its buffer and its optimizers."""
COMMIT = re.compile(r"[0-9a-f]{40}")
MATRIX_FIELDS = ("steps_per_task", "num_envs", "eval_episodes", "curve_episodes", "eval_points")
OPTIONS = ("default", "tuned")
SHAPE: Shape = {
    "protocol": Name,
    "track": Name,
    "method": Name,
    "options": Name,
    "method_options": dict,
    "agent_options": dict,
    "budget": dict,
    "tasks": [Name],
    "task_versions": {str: Name},
    "versions": {str: str | None},
    "commit": Name,
    "processors": [Name],
    "tuning": dict | None,
    "runs": [
        {
            "seed": int,
            "episodes": [[str]],
            "curve_areas": [float],
            "cpu_seconds": float,
            "parameters": int,
            "memory_bytes": int,
        }
    ],
}
"""Shape of the file of a row."""
TUNING: Shape = {
    "tuning": {"metric": str, "seeds": [int], "eval_starts": str},
    "trials": [{"number": int, "params": dict, "state": str, "value": float | None}],
}
"""Shape of where tuned options are from: `trials.json`, of which this is kept."""


@dataclass(frozen=True)
class SeedRun:
    """A run of a row.

    Attributes:
        seed: Of the run.
        episodes: Rows of the performance matrix, in which each entry is what came of the episodes,
            such as "1101".
        curve_areas: Mean success on each task over its own steps, (T,).
        cpu_seconds: Computed while it learned.
        parameters: Of all networks, at the end.
        memory_bytes: What the method keeps of old tasks, at the end.
    """

    seed: int
    episodes: list[list[str]]
    curve_areas: list[float]
    cpu_seconds: float
    parameters: int
    memory_bytes: int


@dataclass(frozen=True)
class Row:
    """A method on a track.

    Attributes:
        protocol: Version.
        track: Name.
        method: Continual method.
        options: "default", or "tuned".
        method_options: All of its options.
        agent_options: All options of its agent.
        budget: Fields of its runs that the track fixes.
        tasks: In the order of learning.
        task_versions: Version of each task.
        versions: Of all that can change the numbers.
        commit: That all runs were made with.
        processors: That the runs were made on.
        tuning: Where tuned options are from, in the shape `TUNING`.
        runs: By seed.
    """

    protocol: str
    track: str
    method: str
    options: str
    method_options: dict[str, Any]
    agent_options: dict[str, Any]
    budget: dict[str, Any]
    tasks: list[str]
    task_versions: dict[str, str]
    versions: dict[str, str | None]
    commit: str
    processors: list[str]
    tuning: dict[str, Any] | None
    runs: list[SeedRun]

    @property
    def name(self) -> str:
        """That of its file, without the ending."""
        tuned = "-tuned" if self.options == "tuned" else ""
        return f"{self.track}-{self.method}{tuned}"

    @property
    def seeds(self) -> list[int]:
        """Of its runs."""
        return [run.seed for run in self.runs]

    @property
    def outcomes(self) -> np.ndarray:
        """Success of each episode, (runs, T + 1, T, episodes) of bool."""
        told = [[[list(e) for e in row] for row in run.episodes] for run in self.runs]
        found: np.ndarray = np.array(told) == "1"
        return found


def write_row(path: Path, row: Row) -> None:
    """Write a row as a file of JSON."""
    write_json(path, dataclasses.asdict(row))


def read_row(path: Path) -> Row:
    """The row in a file.

    Raises:
        UserError: It cannot be read, or is none.
    """
    try:
        content = read_json(path, SHAPE)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    if content["tuning"] is not None:
        try:
            check_shape(content["tuning"], TUNING)
        except ValueError as error:
            raise UserError(f"cannot read {path}: of its tuning, {error}") from error
    names = [entry.name for entry in dataclasses.fields(SeedRun)]
    runs = [SeedRun(**{name: run[name] for name in names}) for run in content["runs"]]
    known = [entry.name for entry in dataclasses.fields(Row)]
    return Row(**{**{name: content[name] for name in known}, "runs": runs})


def read_rows(folder: Path) -> list[Row]:
    """The rows in a folder, by the names of their files.

    Raises:
        UserError: A file is no row, is called otherwise, or does not follow its protocol; all that
            is wrong is told, a sentence for each.
    """
    rows, problems = [], []
    for path in sorted(folder.glob("*.json")):
        row = read_row(path)
        found = list(find_problems(row))
        if path.stem != row.name:
            found.append(f"the file of this row is called {row.name}.json")
        problems += [f"{path.name}: {problem}" for problem in found]
        rows.append(row)
    if problems:
        raise UserError("; ".join(problems))
    return rows


def find_problems(row: Row) -> Iterator[str]:
    """How a row does not follow its protocol, a sentence for each; none if it does."""
    try:
        protocol = read_protocol(row.protocol)
    except UserError as error:
        yield str(error)
        return
    track = protocol.tracks.get(row.track)
    if track is None or track.purpose != "reported":
        reported = [one.name for one in protocol.tracks.values() if one.purpose == "reported"]
        yield f"protocol {row.protocol} reports no track '{row.track}' but {', '.join(reported)}"
        return
    yield from _check_facts(row, protocol, track)
    yield from _check_options(row, protocol)
    yield from _check_runs(row, protocol, track)


def _check_facts(row: Row, protocol: Protocol, track: Track) -> Iterator[str]:
    """What every run of the track has in common."""
    frozen = protocol.frozen()["tracks"][track.name]
    if row.tasks != frozen["tasks"]:
        yield f"its tasks are {', '.join(row.tasks)}, not {', '.join(frozen['tasks'])}"
    installed = resolve_options(AGENTS.get(track.fields["agent"]), track.agent_options, "")
    wanted = _expect(row.agent_options, frozen["agent_options"], installed)
    if JOINT in row.method.split("+"):
        wanted |= {name: row.agent_options.get(name) for name in KEPT_WHEN_JOINT if name in wanted}
    versions = {name: row.versions.get(name) for name in protocol.versions}
    for told, found, fixed in (
        ("versions of tasks", row.task_versions, frozen["task_versions"]),
        ("options of the agent", row.agent_options, wanted),
        ("fields of its runs", row.budget, budget_of(track)),
        ("versions", versions, protocol.versions),
    ):
        differences = tell_differences(found, fixed)
        if differences:
            yield f"{told}: {differences}"
    if not COMMIT.fullmatch(row.commit):
        yield f"the commit is '{row.commit}', not one of a checkout without changes"


def _expect(
    found: Mapping[str, Any], frozen: Mapping[str, Any], installed: Mapping[str, Any]
) -> dict[str, Any]:
    """What options have to be: the frozen ones, and of what came later what a row has at all."""
    later = {name: installed[name] for name in found if name in installed}
    return {**later, **frozen}


def budget_of(track: Track) -> dict[str, Any]:
    """The fields of runs that a row keeps."""
    return {name: track.fields[name] for name in (*MATRIX_FIELDS, "eval_starts", "order")}


def _check_options(row: Row, protocol: Protocol) -> Iterator[str]:
    """The options of the method, and where they are from."""
    if row.options not in OPTIONS:
        yield f"options are '{row.options}', neither default nor tuned"
        return
    for option, value in row.method_options.items():
        if option.rpartition(".")[2] == MEMORY and not (
            isinstance(value, int) and value <= protocol.memory_rows
        ):
            yield f"{option} is {value}; memories have at most {protocol.memory_rows} rows a task"
    best: Mapping[str, Any] = {}
    if row.tuning is not None:
        problems = list(find_tuning_problems(row.tuning, row.track, row.method, protocol))
        yield from problems
        if problems:
            return
        best = _best(row.tuning["trials"])["params"]
    elif row.options == "tuned":
        yield "options are tuned and there is no tuning; give its folder with --tuning"
        return
    known = default_options(row.method, protocol)
    if known is None:
        return
    defaults = _expect(row.method_options, known[1], known[0])
    tuned = {name.partition(".")[2]: value for name, value in best.items()}
    wanted = defaults | tuned
    found = tell_differences(row.method_options, wanted)
    if found:
        origin = "those that its tuning found" if row.tuning is not None else "the defaults"
        yield f"options of the method that are not {origin}: {found}"
    elif (row.method_options == defaults) == (row.options == "tuned"):
        yield f"options are called {row.options} and " + (
            "are the defaults" if row.options == "tuned" else "are not the defaults"
        )


def default_options(
    method: str, protocol: Protocol
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """See `Protocol.default_options`; None of a method that is not known here, as a plug-in's."""
    known = {*protocol.frozen()["methods"], *METHODS.names()}
    if not {*method.split("+")} <= known:
        return None
    return protocol.default_options(method)


def find_tuning_problems(
    tuning: Mapping[str, Any], track: str, method: str, protocol: Protocol
) -> Iterator[str]:
    """How a tuning is not as the protocol says, a sentence for each.

    Args:
        tuning: In the shape `TUNING`.
        track: On which the options are reported.
        method: Whose options they are.
        protocol: Says how they are found.
    """
    facts, trials = tuning["tuning"], tuning["trials"]
    own = next((one for one in protocol.tracks.values() if track in one.tunes), None)
    if own is None:
        yield f"protocol {protocol.version} tunes nothing for the track {track}"
        return
    wanted = {**own.fields, "protocol": protocol.version, "method": method}
    wanted |= {"metric": protocol.metric, "seeds": list(protocol.trial_seeds)}
    differences = tell_differences({name: facts.get(name) for name in wanted}, wanted)
    if differences:
        yield f"it was tuned otherwise: {differences}"
    if len(trials) != protocol.trials:
        yield f"it was tuned with {len(trials)} trials, not {protocol.trials}"
    if not trials or any(trial["state"] not in ("finished", "pruned") for trial in trials):
        yield "a trial of its tuning has not come to an end"
    elif _best(trials) is None:
        yield "no trial of its tuning has finished"
    for name in {option: None for trial in trials for option in trial["params"]}:
        if not name.startswith("method_options.") or name.rpartition(".")[2] == MEMORY:
            yield f"{name} was tuned, which the protocol fixes"


def _best(trials: Sequence[Mapping[str, Any]]) -> Any:
    """The finished trial with the highest value, of several the first; None without one."""
    finished = [trial for trial in trials if trial["value"] is not None]
    return max(finished, key=lambda trial: trial["value"], default=None)


def _check_runs(row: Row, protocol: Protocol, track: Track) -> Iterator[str]:
    """The runs of a row."""
    count = len(row.runs)
    if tuple(row.seeds) != track.seeds[:count]:
        yield (
            f"seeds are {', '.join(map(str, row.seeds))}; a row has the first of those from "
            f"{track.seeds[0]} to {track.seeds[-1]}, in this order"
        )
    if count < protocol.least_seeds:
        yield f"a row has at least {protocol.least_seeds} seeds, not {count}"
    tasks, episodes = len(row.tasks), track.fields["eval_episodes"]
    for run in row.runs:
        rows = run.episodes
        whole = len(rows) == tasks + 1 and all(len(entries) == tasks for entries in rows)
        if not whole or any(
            len(told) != episodes or {*told} - {"0", "1"} for entries in rows for told in entries
        ):
            yield (
                f"seed {run.seed} does not have {tasks + 1} rows of {tasks} entries with what came "
                f"of {episodes} episodes"
            )
        if len(run.curve_areas) != tasks or not all(0 <= area <= 1 for area in run.curve_areas):
            yield f"seed {run.seed} does not have the mean success of {tasks} curves"
        if run.cpu_seconds <= 0 or run.parameters <= 0 or run.memory_bytes < 0:
            yield f"seed {run.seed} does not say what it cost"
    if not row.processors:
        yield "no processor is told"
