"""Builds run folders with results as a run writes them, without learning anything."""

import json
from pathlib import Path

import numpy as np

from lifelong_rl.metrics.matrix import Curve, compute_metrics
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.storage.yaml_file import dump_yaml

TASKS = ("reach", "drawer-open", "button-press")


def make_results(
    matrix,
    *,
    tasks=TASKS,
    agent="sac",
    agent_options=None,
    method="finetune",
    method_options=None,
    seed=0,
    curves=None,
    steps_per_task=1000,
    ratios=None,
    parameters=100,
    memory_bytes=0,
    mujoco="3.17.0",
    version="v0",
    sequence="arm3",
    curve_episodes=None,
    **more,
):
    """The content of `results.json`.

    Args:
        matrix: Performance matrix, (T + 1, T).
        curves: Success of each task while it is learned; by default a step at half the time.
        ratios: Cost of an update on each task; None leaves the measurement out.
        more: Other entries, such as eval_starts and episodes.
    """
    matrix = np.asarray(matrix, dtype=float).tolist()
    if curves is None:
        curves = [[0.0, matrix[j + 1][j], matrix[j + 1][j]] for j in range(len(tasks))]
    steps = [np.linspace(0, steps_per_task, len(curve)).tolist() for curve in curves]
    cost = {
        "parameters": parameters,
        "memory_bytes": memory_bytes,
        "seconds": 11.0 * len(tasks),
        "seconds_per_task": [
            {"task": task, "learn": 10.0 + j, "evaluate": 1.0} for j, task in enumerate(tasks)
        ],
    }
    if ratios is not None:
        cost["updates"] = [
            {"task": task, "seconds": None, "finetune_seconds": None, "ratio": ratio}
            for task, ratio in zip(tasks, ratios, strict=True)
        ]
    return {
        "sequence": sequence,
        "tasks": list(tasks),
        "task_versions": dict.fromkeys(tasks, version),
        "agent": agent,
        "agent_options": agent_options or {},
        "method": method,
        "method_options": method_options or {},
        "seed": seed,
        "performance_matrix": matrix,
        "success_curves": {
            task: {"steps": s, "success": c}
            for task, s, c in zip(tasks, steps, curves, strict=True)
        },
        "metrics": compute_metrics(
            matrix, [Curve(s, c) for s, c in zip(steps, curves, strict=True)]
        ),
        "cost": cost,
        "budget": {
            "steps_per_task": steps_per_task,
            "num_envs": 16,
            "eval_episodes": 50,
            "eval_points": 10,
            **({} if curve_episodes is None else {"curve_episodes": curve_episodes}),
        },
        "diverged": {"training": 0, "evaluation": 0},
        "versions": {"mujoco": mujoco},
        **more,
    }


def write_run(path: Path, results, *, order=None) -> Path:
    """A folder with `config.yaml`, `status.json` and `results.json`."""
    path.mkdir(parents=True)
    same = ("sequence", "agent", "agent_options", "method", "method_options", "seed")
    facts = {name: results[name] for name in same} | results["budget"]
    config = RunConfig(order=order, **facts)
    (path / "config.yaml").write_text(dump_yaml(config.as_dict()))
    (path / "status.json").write_text('{"status": "finished", "message": "", "pid": 1}')
    (path / "results.json").write_text(json.dumps(results))
    return path


def write_study(
    folder: Path, methods, agents=("bc", "sac"), *, seeds=range(3), tasks=TASKS, draw=0, **facts
) -> Path:
    """Runs of every method with every agent and seed.

    Args:
        folder: Where to.
        methods: The share of success that is lost with each task learned since, by method.
        agents: Those of the runs; each loses a little more than the one before.
        seeds: Of the runs.
        tasks: Their tasks.
        draw: Decides the numbers, which are multiples of 1/50.
        facts: Passed on to `make_results`.
    """
    generator = np.random.default_rng(draw)
    count = len(tasks)
    for rung, agent in enumerate(agents):
        for method, loss in methods.items():
            for seed in seeds:
                since = np.arange(count + 1)[:, None] - 1 - np.arange(count)
                learned = generator.uniform(0.85, 1.0, size=count)
                kept = (1 - loss * (1 + 0.3 * rung) * generator.uniform(0.3, 1.3, size=count)).clip(
                    0, 1
                )
                matrix = np.where(since < 0, 0.0, learned * kept ** np.maximum(since, 0))
                results = make_results(
                    np.round(matrix * 50) / 50,
                    tasks=tasks,
                    agent=agent,
                    method=method,
                    seed=seed,
                    ratios=generator.uniform(1, 1.5, size=count).tolist(),
                    **facts,
                )
                write_run(folder / f"{agent}-{method}-{seed}", results)
    return folder
