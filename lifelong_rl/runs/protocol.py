"""Protocols: what runs have in common whose numbers are set side by side, frozen by version.

A protocol has tracks, each a sequence with an agent; a run that names the protocol is of the track
that its sequence and agent name. The track fixes all that decides its numbers but the method, the
method's options and the seed, which has to be one of the track's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from lifelong_rl.continual import METHODS
from lifelong_rl.continual.chain import split_options
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import options_of, resolve_options
from lifelong_rl.registry import AGENTS
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.storage.json_file import Shape, check_shape, read_json
from lifelong_rl.storage.versions import installed
from lifelong_rl.storage.yaml_file import read_yaml
from lifelong_rl.text import shorten

FOLDER = Path(__file__).parents[1] / "protocols"
"""Holds VERSION.yaml, which says what a protocol fixes, and VERSION.json, what that came to."""
KEPT_WHEN_JOINT = ("reset_buffer", "reset_optimizers")
"""Agent options that are false by default where the method learns all tasks at once."""
MEMORY = "per_task"
"""What methods call the rows that they keep of each task."""
FILE: Shape = {
    "runs": dict,
    "versions": {str: str},
    "memory_rows": int,
    "reported": {"seeds": [int], "least_seeds": int, "runs": dict, "tracks": {str: dict}},
    "tuning": {
        "metric": str,
        "trials": int,
        "trial_seeds": [int],
        "seeds": [int],
        "runs": dict,
        "tracks": {str: dict},
    },
}
FROZEN: Shape = {
    "tracks": {
        str: {"task_versions": {str: str}, "tasks": [str], "steps": [int], "agent_options": dict}
    },
    "methods": {str: dict},
}

Purpose = Literal["reported", "tuning"]


@dataclass(frozen=True)
class Track:
    """A sequence with an agent, and what their runs share.

    Attributes:
        name: Such as "arm10-sac".
        purpose: Whether its runs are reported, or options are tuned on them.
        fields: Of `RunConfig`, but the options.
        agent_options: That are not the agent's defaults.
        seeds: Of its runs.
        tunes: Tracks of whose methods the options are tuned on it.
    """

    name: str
    purpose: Purpose
    fields: Mapping[str, Any]
    agent_options: Mapping[str, Any]
    seeds: tuple[int, ...]
    tunes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """What a version fixes.

    Attributes:
        version: Such as "v1".
        tracks: By name.
        versions: Of packages that decide trajectories.
        memory_rows: Rows of a task that a method may keep.
        least_seeds: Of a row of results.
        metric: What options are tuned for.
        trials: Of each tuning, the defaults among them.
        trial_seeds: Of each trial.
    """

    version: str
    tracks: Mapping[str, Track]
    versions: Mapping[str, str]
    memory_rows: int
    least_seeds: int
    metric: str
    trials: int
    trial_seeds: tuple[int, ...]

    def find_track(self, sequence: str, agent: str) -> Track:
        """The track of a sequence with an agent.

        Raises:
            UserError: There is none.
        """
        for track in self.tracks.values():
            if (track.fields["sequence"], track.fields["agent"]) == (sequence, agent):
                return track
        raise UserError(
            f"protocol {self.version} has no track of the sequence {shorten(sequence)} with the "
            f"agent '{agent}' (it has {', '.join(self.tracks)}); leave out the protocol"
        )

    def frozen(self) -> dict[str, Any]:
        """What it depends on, as it was when the version was made, in the shape `FROZEN`."""
        found: dict[str, Any] = read_json(FOLDER / f"{self.version}.json", FROZEN)
        return found

    def default_options(self, method: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The options that a method, or several joined by "+", has by default.

        Returns:
            All of them; and those that the version was frozen with, which go before what is
            installed. Options, and methods, that are not among these came later.
        """
        frozen = self.frozen()["methods"]
        parts = method.split("+")
        found: dict[str, Any] = {}
        fixed: dict[str, Any] = {}
        for name in parts:
            METHODS.check(name)
            prefix = f"{name}." if len(parts) > 1 else ""
            own = {prefix + option: value for option, value in frozen.get(name, {}).items()}
            now = {prefix + option: v for option, v in self.resolve_method(name).items()}
            found |= now | own
            fixed |= own
        return found, fixed

    def resolve_method(self, name: str) -> dict[str, Any]:
        """The default options of a method as it is installed, with a memory of `memory_rows`."""
        options = resolve_options(METHODS.get(name), {}, f"method '{name}'")
        if MEMORY in options:
            options[MEMORY] = min(options[MEMORY], self.memory_rows)
        return options


def names() -> list[str]:
    """Such as "v1"."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def read_protocol(version: str) -> Protocol:
    """The protocol of a version.

    Raises:
        UnknownNameError: There is none.
    """
    if version not in names():
        raise UnknownNameError("protocol", version, names(), see="lifelong-rl run --help")
    content = read_yaml(FOLDER / f"{version}.yaml")
    check_shape(content, FILE)
    tracks = {}
    for purpose in ("reported", "tuning"):
        part = content[purpose]
        for name, own in part["tracks"].items():
            fields = {**content["runs"], **part["runs"], **own}
            options, tunes = fields.pop("agent_options", {}), fields.pop("tunes", ())
            seeds = tuple(part["seeds"])
            tracks[name] = Track(name, purpose, fields, options, seeds, tuple(tunes))
    tuning = content["tuning"]
    return Protocol(
        version,
        tracks,
        content["versions"],
        content["memory_rows"],
        content["reported"]["least_seeds"],
        tuning["metric"],
        tuning["trials"],
        tuple(tuning["trial_seeds"]),
    )


def fill(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `RunConfig` with what their protocol fixes where they say nothing.

    What they say stays, and `apply_protocol` refuses it if it contradicts.

    Args:
        given: Arguments of `RunConfig`, with or without a protocol.

    Raises:
        UserError: There is no such protocol, or it has no such track.
    """
    if given.get("protocol") is None:
        return dict(given)
    protocol = read_protocol(given["protocol"])
    sequence, agent = (given.get(name, getattr(RunConfig, name)) for name in ("sequence", "agent"))
    return {**protocol.find_track(sequence, agent).fields, **given}


def apply_protocol(config: RunConfig) -> RunConfig:
    """The run with the options that its protocol fixes; without a protocol as it is.

    Args:
        config: Of a run; what it names must be loaded.

    Raises:
        UserError: It contradicts the protocol.
    """
    if config.protocol is None:
        return config
    protocol = read_protocol(config.protocol)
    track = protocol.find_track(config.sequence, config.agent)
    problems = [
        f"{name} {shorten(value)}, not {shorten(own)}"
        for name, value in track.fields.items()
        if (own := getattr(config, name)) != value and own is not None
    ]
    problems += [
        f"{package} {version}, not {installed(package)}"
        for package, version in protocol.versions.items()
        if installed(package) != version
    ]
    if config.seed not in track.seeds:
        problems.append(f"seeds {_spoken(track.seeds)}, not {config.seed}")
    method_options = dict(config.method_options)
    parts = split_options(config.method, config.method_options)
    for name in parts:
        if MEMORY in options_of(METHODS.get(name)):
            option = f"{name}.{MEMORY}" if len(parts) > 1 else MEMORY
            rows = protocol.resolve_method(name)[MEMORY]
            if method_options.setdefault(option, rows) != rows:
                problems.append(f"{option} {rows}, not {shorten(method_options[option])}")
    problems += _check_agent_options(config, track, parts)
    if problems:
        raise UserError(
            f"protocol {protocol.version} fixes in its track {track.name}: {'; '.join(problems)} "
            "(leave these out, or leave out the protocol)"
        )
    nones = {name: value for name, value in track.fields.items() if getattr(config, name) is None}
    return replace(
        config,
        **nones,
        agent_options={**track.agent_options, **config.agent_options},
        method_options=method_options,
    )


def _check_agent_options(config: RunConfig, track: Track, methods: Iterable[str]) -> list[str]:
    """What of the agent's options is not the track's."""
    agent: Any = AGENTS.get(config.agent)
    owner = f"agent '{config.agent}'"
    fixed = resolve_options(agent, track.agent_options, owner)
    found = resolve_options(agent, {**track.agent_options, **config.agent_options}, owner)
    interleaves = any(getattr(METHODS.get(name), "interleaves", False) for name in methods)
    return [
        f"{option} {shorten(fixed.get(option))}, not {shorten(value)}"
        for option, value in found.items()
        if value != fixed.get(option)
        and not (interleaves and option in KEPT_WHEN_JOINT and value is False)
    ]


def _spoken(seeds: tuple[int, ...]) -> str:
    if seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
