"""Builds runs that follow protocol v1, and rows of them, without learning anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from made_runs import make_results

from lifelong_rl.analysis.rows import Row
from lifelong_rl.analysis.submission import make_rows
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.protocol import fill, read_protocol
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.yaml_file import dump_yaml

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CPU = "AMD EPYC 7B13"
VERSIONS = {"lifelong-rl": "0.1.0", "torch": "2.13.0", "mujoco": "3.17.0"}
TASKS = tuple(read_protocol("v1").frozen()["tracks"]["arm10-sac"]["tasks"])
V1 = {"protocol": "v1", "sequence": "arm10", "agent": "sac"}


def draw_episodes(kept: float, seed: int, learned: float = 0.9, episodes: int = 50) -> list[Any]:
    """What came of episodes: learned with one probability, and kept with another ever after."""
    count = len(TASKS)
    generator = np.random.default_rng([seed, round(1000 * kept), round(1000 * learned)])
    since = np.arange(count + 1)[:, None] - 1 - np.arange(count)
    share = np.where(since < 0, 0.0, np.where(since == 0, learned, learned * kept))
    drawn = generator.random((count + 1, count, episodes)) < share[..., None]
    return [["".join("1" if success else "0" for success in e) for e in row] for row in drawn]


def write_v1_run(
    path: Path,
    seed: int,
    method: str = "finetune",
    *,
    kept: float = 0.2,
    agent: str = "sac",
    method_options: dict[str, Any] | None = None,
    session: dict[str, Any] | None = None,
    cpu_seconds: float = 300.0,
    **more: Any,
) -> Path:
    """The folder of a finished run.

    Args:
        kept: Share of what was learned that is kept.
        session: Facts of its session that are others.
        cpu_seconds: Computed while it learned.
        more: Other entries of `results.json`.
    """
    given = {**V1, "agent": agent, "seed": seed, "method": method}
    options = {"method_options": method_options} if method_options else {}
    config = prepare(RunConfig(**fill({**given, **options}))).config
    episodes = draw_episodes(kept, seed)
    results = make_results(
        [[entry.count("1") / len(entry) for entry in row] for row in episodes],
        tasks=TASKS,
        sequence="arm10",
        agent=agent,
        agent_options=dict(config.agent_options),
        method=method,
        method_options=dict(config.method_options),
        seed=seed,
        steps_per_task=20_000,
        curve_episodes=10,
        parameters=100_000,
        memory_bytes=0 if method == "finetune" else 2_000_000,
        eval_starts="test",
        protocol="v1",
        episodes=episodes,
    )
    for entry in results["cost"]["seconds_per_task"]:
        entry["learn_cpu"] = cpu_seconds / len(TASKS)
    results["versions"] = VERSIONS
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(dump_yaml(config.as_dict()))
    (path / "status.json").write_text('{"status": "finished", "message": "", "pid": 1}')
    (path / "results.json").write_text(json.dumps({**results, **more}))
    facts = {"git_commit": COMMIT, "cpu": CPU, "device": "cpu", "versions": VERSIONS}
    manifest = {"sessions": [{**facts, **(session or {})}]}
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def write_trials(
    folder: Path, method: str = "ewc", agent: str = "sac", best: float = 32.0, **facts: Any
) -> Path:
    """The folder of a tuning of six trials, in which `strength` is best at a value."""
    track = read_protocol("v1").find_track("arm5", agent)
    tuning = {
        **track.fields,
        "protocol": "v1",
        "method": method,
        "metric": "average_performance",
        "seeds": [0, 1],
        **facts,
    }
    strengths = [1e4, best, 1.0, 2.0, 3.0, 4.0]
    trials = [
        {
            "number": number,
            "params": {"method_options.strength": strength},
            "state": "finished" if number < 5 else "pruned",
            "value": (0.9 if strength == best else 0.5) if number < 5 else None,
            "by_task": [],
            "message": "",
        }
        for number, strength in enumerate(strengths)
    ]
    folder.mkdir(parents=True)
    (folder / "trials.json").write_text(json.dumps({"tuning": tuning, "trials": trials}))
    return folder


def make_row(folder: Path, method: str = "finetune", seeds: int = 5, **facts: Any) -> Row:
    """The row of some runs."""
    for seed in range(100, 100 + seeds):
        write_v1_run(folder / method / str(seed), seed, method, **facts)
    (row,), problems = make_rows([folder / method])
    assert not problems
    return row
