"""Compare a sweep on a Ray cluster of two nodes with one on this machine, and kill a node.

    python scripts/bench_cluster.py [--cells 24] [--rounds 2] [--kill-every 20] [--json FILE]

The cluster is two raylets with one CPU each on this machine. The same study is run by `lifelong-rl
sweep --executor local --processes 2` and by `--executor ray --address`, in turns; then once more on
the cluster while one of the two nodes is killed and started again every so many seconds. All must
end with the same numbers, bit by bit: results, metrics and checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

STUDY = """\
sequences: arm3
agents: bc
methods: [finetune, ewc, replay]
seeds: {seeds}
steps_per_task: {steps}
eval_episodes: 10
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=24, help="a multiple of three")
    parser.add_argument("--steps", type=int, default=4000, help="for each task")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kill-every", type=float, default=20.0, help="seconds")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="bench-cluster-"))
    study = place / "study.yaml"
    seeds = list(range(given.cells // 3))
    study.write_text(STUDY.format(seeds=seeds, steps=given.steps), encoding="utf-8")
    seconds: dict[str, list[float]] = {"local": [], "ray": []}
    problems: list[str] = []
    reference = place / "local-0"
    cluster = make_cluster()
    try:
        joined = ["--executor", "ray", "--address", cluster.address]
        for number in range(given.rounds):
            turns = [("local", []), ("ray", joined)]
            for name, words in turns if number % 2 == 0 else turns[::-1]:
                runs = place / f"{name}-{number}"
                taken, _ = sweep(study, runs, words)
                seconds[name].append(taken)
                print(f"{name}: {taken:.1f} s", flush=True)
        for number in range(given.rounds):
            for name in seconds:
                problems += differences(reference, place / f"{name}-{number}")
        print(f"efficiency: {median(seconds['local']) / median(seconds['ray']):.3f}", flush=True)
        times = 0

        def kill(running: subprocess.Popen[str]) -> None:
            nonlocal times
            times = kill_nodes(cluster, given.kill_every, running)

        taken, lines = sweep(study, place / "killed", joined, kill)
    finally:
        cluster.shutdown()
    problems += differences(reference, place / "killed")
    ends = [line for line in lines if " finished in " in line]
    if len(ends) != given.cells:
        problems.append(f"{len(ends)} cells were told to have finished, not {given.cells}")
    sessions = {p.name: count_sessions(p) for p in sorted((place / "killed").glob("arm3-*"))}
    left = processes_with(str(place))
    problems += [f"a process is left: {command}" for command in left]
    found = {
        "cells": given.cells,
        "processes": 2,
        "seconds": seconds,
        "efficiency": median(seconds["local"]) / median(seconds["ray"]),
        "killed": {
            "every": given.kill_every,
            "times": times,
            "seconds": taken,
            "lost": sum(" was lost " in line for line in lines),
            "cells begun more than once": sum(number > 1 for number in sessions.values()),
        },
        "problems": problems,
    }
    print(json.dumps(found, indent=2))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if problems:
        sys.exit(f"kept: {place}")
    shutil.rmtree(place)


def make_cluster() -> Any:
    """Two raylets with one CPU each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # as the processes of a sweep on this machine
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    cluster.second = cluster.add_node(num_cpus=1)
    return cluster


def kill_nodes(cluster: Any, every: float, running: subprocess.Popen[str]) -> int:
    """Kill the second node every so many seconds until a process ends, and start another.

    Ray starts nodes in the main thread only.

    Returns:
        How often.
    """
    times = 0
    while True:
        try:
            running.wait(every)
            return times
        except subprocess.TimeoutExpired:
            cluster.remove_node(cluster.second, allow_graceful=False)
            cluster.second = cluster.add_node(num_cpus=1)
            times += 1


def sweep(
    study: Path,
    runs: Path,
    words: list[str],
    meanwhile: Callable[[subprocess.Popen[str]], None] | None = None,
) -> tuple[float, list[str]]:
    """Seconds of a sweep, and the lines that it printed.

    Args:
        study: What to run.
        runs: Where.
        words: More of its command line.
        meanwhile: What to do while it runs.
    """
    command = [sys.executable, "-P", "-m", "lifelong_rl", "sweep", str(study), "--runs", str(runs)]
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        running = subprocess.Popen(
            [*command, "--processes", "2", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if meanwhile is not None:
            meanwhile(running)
        failed = running.wait() != 0
        taken = time.monotonic() - begun
        output.seek(0)
        printed = output.read()
    if failed:
        sys.exit(f"the sweep failed: {printed}")
    return taken, printed.splitlines()


def differences(one: Path, other: Path) -> list[str]:
    """What differs between the runs of two folders, but for what times and paths decide."""
    names = [
        sorted(p.parent.name for p in folder.glob("*/results.json")) for folder in (one, other)
    ]
    if names[0] != names[1]:
        return [f"{other} has other finished runs than {one}"]
    return [
        f"{other / name}: {what} differ"
        for name in names[0]
        for what, content in read_numbers(one / name).items()
        if read_numbers(other / name)[what] != content
    ]


def read_numbers(run: Path) -> dict[str, Any]:
    """All numbers of a run that do not depend on when and where it was made."""
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    results.pop("cost")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        line["values"] = {k: v for k, v in line["values"].items() if "second" not in k}
    tensors = {
        path.parent.name: json.loads(path.read_text("utf-8"))["tensors_sha256"]
        for path in sorted(run.glob("checkpoints/task-*/state.json"))
    }
    return {"results": results, "metrics": lines, "checkpoints": tensors}


def count_sessions(run: Path) -> int:
    return len(json.loads((run / "manifest.json").read_text(encoding="utf-8"))["sessions"])


def processes_with(words: str) -> list[str]:
    """Command lines of the other processes that have these words in them, once all had time."""
    for _ in range(100):
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if words in command and path.parent.name != str(os.getpid()):
                found.append(command)
        if not found:
            return []
        time.sleep(0.1)
    return found


if __name__ == "__main__":
    main()
