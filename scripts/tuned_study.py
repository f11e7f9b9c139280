"""Write the study that reports what was tuned: each method with the options that its tuning found.

    python scripts/tuned_study.py runs/v1_tune_* --out runs/v1_arm10_tuned.yaml
    lifelong-rl sweep runs/v1_arm10_tuned.yaml

In `runs` it makes no change to the checkout, as rows are refused that were made with one. Tunings
that found nothing better than the defaults are left out: their row is that of the defaults.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lifelong_rl.runs.config import read_mapping
from lifelong_rl.runs.protocol import read_protocol
from lifelong_rl.storage.atomic import write_file
from lifelong_rl.storage.yaml_file import dump_yaml

BEST = "best.yaml"
"""What `lifelong-rl tune` writes into the folder of a tuning."""


def make_study(
    folders: Iterable[Path], version: str, sequence: str, seeds: int
) -> tuple[dict[str, Any], list[str]]:
    """The content of the study, and the names of what keeps its defaults.

    Args:
        folders: Of tunings.
        version: Of the protocol.
        sequence: Of the runs to report.
        seeds: How many, the first of the protocol's.
    """
    protocol = read_protocol(version)
    blocks, kept, reported = [], [], ()
    for folder in sorted(folders):
        best = read_mapping(folder / BEST)
        agent, method, options = best["agent"], best["method"], best["method_options"]
        reported = protocol.find_track(sequence, agent).seeds[:seeds]
        defaults, _ = protocol.default_options(method)
        if all(defaults[name] == value for name, value in options.items()):
            kept.append(f"{method} with {agent}")
        else:
            blocks.append({"agents": agent, "methods": method, "method_options": {method: options}})
    content = {
        "protocol": version,
        "sequences": sequence,
        "seeds": list(reported),
        "diagnostics": False,
        "track": [],
        "blocks": blocks,
    }
    return content, kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tunings", type=Path, nargs="+", help="folders of tunings")
    parser.add_argument("--out", type=Path, required=True, help="study to write")
    parser.add_argument("--protocol", default="v1")
    parser.add_argument("--sequence", default="arm10")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    given = parser.parse_args()
    content, kept = make_study(given.tunings, given.protocol, given.sequence, given.seeds)
    header = (
        f"# Tuned methods on {given.sequence}, made by scripts/tuned_study.py of their tunings.\n"
    )
    write_file(given.out, (header + dump_yaml(content)).encode())
    print(
        f"{given.out}: {len(content['blocks'])} tuned methods, {len(content['seeds'])} seeds each"
    )
    for name in kept:
        print(f"{name} keeps its defaults, which no trial was better than")


if __name__ == "__main__":
    main()
