"""Keep what a protocol depends on: versions of tasks, and default options of agents and methods.

    python scripts/freeze_protocol.py v1

What lifelong_rl/protocols/VERSION.json holds already stays; added is what it lacks, such as a
method that is new. If something in it has changed since, nothing is written: the numbers of runs
made before and after are not those of one protocol, so it needs another version.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from lifelong_rl.continual import METHODS
from lifelong_rl.runs.config import RunConfig, tell_differences
from lifelong_rl.runs.protocol import FOLDER, Protocol, Track, fill, read_protocol
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.atomic import write_json


def describe_track(protocol: Protocol, track: Track) -> dict[str, Any]:
    """What the runs of a track come to, as it is installed."""
    names = {"sequence": track.fields["sequence"], "agent": track.fields["agent"]}
    given = fill({**names, "protocol": protocol.version, "seed": track.seeds[0]})
    setup = prepare(RunConfig(**given))
    return {
        "tasks": list(setup.sequence.tasks),
        "task_versions": setup.sequence.versions(),
        "steps": list(setup.phase_steps),
        "agent_options": setup.config.as_dict()["agent_options"],
    }


def find_changes(frozen: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of the frozen is another now, a line each.

    Methods, and options, that were added since are no change: an option that is new does by default
    what was done before.
    """
    lines = []
    for name, track in frozen["tracks"].items():
        for fact, value in track.items():
            found = now["tracks"].get(name, {}).get(fact)
            if fact == "agent_options":
                found = {option: v for option, v in (found or {}).items() if option in value}
            both = [v if isinstance(v, dict) else {fact: v} for v in (value, found)]
            told = tell_differences(*both)
            if told:
                lines.append(f"track {name}, {fact.replace('_', ' ')}: {told}")
    for name, options in frozen["methods"].items():
        found = now["methods"].get(name, {})
        told = tell_differences(options, {k: v for k, v in found.items() if k in options})
        if told:
            lines.append(f"method {name}: {told}")
    return lines


def describe(protocol: Protocol) -> dict[str, Any]:
    """All that a protocol depends on, as it is installed."""
    return {
        "tracks": {name: describe_track(protocol, own) for name, own in protocol.tracks.items()},
        "methods": {name: protocol.resolve_method(name) for name in METHODS.names()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version")
    protocol = read_protocol(parser.parse_args().version)
    now = describe(protocol)
    path = FOLDER / f"{protocol.version}.json"
    frozen = protocol.frozen() if path.exists() else {"tracks": {}, "methods": {}}
    changes = find_changes(frozen, now)
    if changes:
        print(f"raise the version of the protocol; since {protocol.version} changed:")
        print("\n".join(f"  {line}" for line in changes))
        return 1
    write_json(path, {kind: {**now[kind], **frozen[kind]} for kind in now})
    return 0


if __name__ == "__main__":
    sys.exit(main())
