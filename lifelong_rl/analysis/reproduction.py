"""How to make runs again: the command, and what they were made with."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lifelong_rl.analysis.runs import Run
from lifelong_rl.errors import UserError
from lifelong_rl.runs.config import RunConfig, parse_value
from lifelong_rl.runs.run_folder import RunFolder, versions_of

REPEATED = ("plugin",)
"""Fields of lists whose flag takes one entry and is repeated; others take all of theirs at once."""


def command(config: RunConfig, seeds: Sequence[int]) -> str:
    """The command line that makes runs again which differ only in their seeds.

    It sets every option of agent and method, so that it means the same after a default changes.
    """
    defaults = RunConfig()
    words = ["lifelong-rl", "run"]
    for field in dataclasses.fields(RunConfig):
        value = getattr(config, field.name)
        flag = "--" + field.name.replace("_", "-")
        if field.name == "seed" or (
            value == getattr(defaults, field.name)
            and field.name not in ("sequence", "agent", "method")
        ):
            continue
        if isinstance(value, Mapping):
            words += [flag, *(f"{name}={_option(v)}" for name, v in value.items())]
        elif field.name in REPEATED:
            words += [word for one in value for word in (flag, one)]
        elif isinstance(value, tuple):
            words += [flag, *value]
        elif isinstance(value, bool):
            words.append(flag if value else "--no-" + flag[2:])
        else:
            words += [flag, str(value)]
    line = shlex.join(words)
    if len(seeds) == 1:
        return f"{line} --seed {seeds[0]}"
    return f"for seed in {' '.join(map(str, seeds))}; do {line} --seed $seed; done"


def describe_origin(runs: Iterable[Run]) -> dict[str, list[str]]:
    """What runs were made with: versions by package, commits, machines and days, each once."""
    found: dict[str, dict[str, None]] = {}

    def note(name: str, value: object) -> None:
        if value:
            found.setdefault(name, {})[str(value)] = None

    for run in runs:
        for package, version in run.versions.items():
            note(package, version)
        for session in _sessions(run):
            note("commit", session.get("git_commit"))
            note("processor", session.get("cpu"))
            note("platform", session.get("platform"))
            note("started", str(session.get("started") or "")[:10])
            for package, version in versions_of(session).items():
                note(package, version)
    return {name: sorted(values) for name, values in found.items()}


def _sessions(run: Run) -> list[dict[str, Any]]:
    """The processes that made a run; none where its manifest is missing or damaged."""
    try:
        return RunFolder(run.path, run.config).sessions()
    except UserError:
        return []


def _option(value: Any) -> str:
    """The value of an option as the command line reads it."""
    if isinstance(value, str):
        try:
            if parse_value(value) == value:
                return value
        except UserError:
            pass
    return json.dumps(value, ensure_ascii=False)  # YAML has no pairs of surrogates
