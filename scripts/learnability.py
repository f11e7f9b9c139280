"""Train default SAC on each task alone, from scratch, and tell after how many steps it is learned.

    python scripts/learnability.py --json docs/results/learnability.json
    python scripts/learnability.py --settings "batch_size=128" "batch_size=256" --tasks push

Each task, seed and setting of the agent's options is a cell of its own: what `lifelong-rl run
--sequence TASK --seed SEED` would learn, except that a cell ends once the task is learned, which is
when `CONFIRM` evaluations in a row, of 50 episodes and 500 steps apart, succeed at 0.95 or more;
their last one is the final success. A level counts as reached at the first evaluation that reaches
it and is not followed by one below it within `CONFIRM` evaluations. Several cells run at a time,
one process and one torch thread each. A finished cell leaves a file in --out and is not run again;
a cell that was interrupted starts anew. The CPU time is the training's alone, to the level; it is
comparable between settings that ran beside the same load. Where a level is not reached, means count
the whole budget, and the table says how often.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
import yaml

from lifelong_rl import envs
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.versions import versions

LEVELS = (0.8, 0.9)
LEARNED = 0.95
CONFIRM = 5
EVAL_STEPS = 500
ARM_STEPS, VALVE_STEPS = 200_000, 80_000
SEEDS = (0, 1, 2)


class Learned(Exception):
    """The task is learned; no more training is needed."""


def train(task: str, seed: int, steps: int, setting: str) -> dict[str, Any]:
    """Learn one task with one seed and setting, and return its success curve."""
    torch.set_num_threads(1)
    options = parse_setting(setting)
    config = RunConfig(
        sequence=task, seed=seed, steps_per_task=steps, num_threads=1, agent_options=options
    )
    setup = prepare(config)
    env = setup.make_env(0)
    agent, _ = setup.build_agent(env)
    evaluator = Evaluator(setup.sequence, num_episodes=50, num_threads=1)
    curve: dict[str, list[float]] = {"steps": [], "success": [], "cpu_seconds": []}
    spent, since = 0.0, time.process_time()

    def evaluate(done: int) -> None:
        nonlocal spent, since
        spent += time.process_time() - since
        curve["steps"].append(done)
        curve["success"].append(evaluator.evaluate(agent.act, 0).score)
        curve["cpu_seconds"].append(round(spent, 2))
        since = time.process_time()

    def progress(done: int) -> None:
        if done >= min(EVAL_STEPS * len(curve["steps"]), steps):
            evaluate(done)
            if min(curve["success"][-CONFIRM:]) >= LEARNED and len(curve["steps"]) > CONFIRM:
                raise Learned

    evaluate(0)
    seed_everything(seed, 1)
    env.seed(setup.env_seed(0))
    agent.begin_task(0, env)
    with contextlib.suppress(Learned):
        agent.learn_task(steps, progress)
    evaluator.close()
    env.close()
    first = {level: first_at(curve["success"], level) for level in LEVELS}
    return {
        "task": task,
        "version": envs.get_task(task).version,
        "seed": seed,
        "setting": setting,
        "budget": steps,
        "steps": curve["steps"][-1],
        "cpu_seconds": round(spent, 1),
        "final_success": curve["success"][-1],
        "steps_to": {str(k): None if i is None else curve["steps"][i] for k, i in first.items()},
        "cpu_seconds_to": {
            str(k): None if i is None else curve["cpu_seconds"][i] for k, i in first.items()
        },
        "curve": curve,
        "versions": versions(),
    }


def parse_setting(setting: str) -> dict[str, Any]:
    """Options of the agent, written as "batch_size=128 updates_per_step=0.25"."""
    return {name: yaml.safe_load(value) for name, value in (p.split("=") for p in setting.split())}


def first_at(success: list[float], level: float) -> int | None:
    """Return the first evaluation after which success stays at a level for `CONFIRM` of them."""
    for k in range(len(success)):
        if min(success[k : k + CONFIRM]) >= level:
            return k
    return None


def run_cell(task: str, seed: int, steps: int, setting: str, path: Path) -> dict[str, Any]:
    """Return the cell that a file holds, or train it and write the file."""
    if path.exists():
        cell: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = cell["version"], cell["budget"], cell["setting"], cell["versions"]
        if same == (envs.get_task(task).version, steps, setting, versions()):
            return cell
    cell = train(task, seed, steps, setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(cell), encoding="utf-8")
    part.replace(path)
    return cell


def is_valve(task: str) -> bool:
    return task.startswith("valve-")


def print_table(cells: list[dict[str, Any]]) -> None:
    print(
        f"\n{'task':<20}{'seed':>5}{'to 0.8':>9}{'to 0.9':>9}{'final':>7}{'steps':>9}{'CPU s':>9}"
    )
    for cell in cells:
        reached = "".join(f"{cell['steps_to'][str(level)] or '-':>9}" for level in LEVELS)
        print(
            f"{cell['task']:<20}{cell['seed']:>5}{reached}{cell['final_success']:>7.2f}"
            f"{cell['steps']:>9}{cell['cpu_seconds']:>9.0f}"
        )


def summary(cells: list[dict[str, Any]]) -> dict[str, float]:
    """Geometric means over tasks and seeds of what 0.9 takes, and how often it is not reached."""
    steps = [cell["steps_to"]["0.9"] or cell["budget"] for cell in cells]
    seconds = [cell["cpu_seconds_to"]["0.9"] or cell["cpu_seconds"] for cell in cells]
    return {
        "cells": len(cells),
        "steps_to_0.9": round(statistics.geometric_mean(steps)),
        "cpu_seconds_to_0.9": round(statistics.geometric_mean(seconds), 1),
        "cpu_ms_per_step": round(1000 * sum(seconds) / sum(steps), 3),
        "not_reached": sum(cell["steps_to"]["0.9"] is None for cell in cells),
    }


def main() -> None:
    """Run the cells that are missing, print the tables and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", help="default: the arm's tasks and ten valves")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="default: 0 1 2")
    parser.add_argument("--steps", type=int, help="at most; default: 200 000, valves 80 000")
    parser.add_argument(
        "--settings", nargs="+", default=[""], help="of the agent's options; default: none"
    )
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--out", type=Path, default=Path("runs/learnability"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    tasks = args.tasks or [*get_tasks("arm10"), *get_tasks("claw10")]
    cells = [
        (task, seed, args.steps or (VALVE_STEPS if is_valve(task) else ARM_STEPS), setting)
        for task in tasks
        for seed in args.seeds
        for setting in args.settings
    ]
    done: dict[tuple[str, int, str], dict[str, Any]] = {}
    # a fresh interpreter for each cell: torch does not survive a fork, and buffers are large
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        waiting = {}
        for cell in cells:
            task, seed, _, setting = cell
            path = args.out / (setting or "default") / f"{task}-seed{seed}.json"
            waiting[pool.submit(run_cell, *cell, path)] = cell
        for future in as_completed(waiting):
            task, seed, _, setting = waiting[future]
            found = done[task, seed, setting] = future.result()
            print(
                f"{task} seed {seed} {setting}: {found['final_success']:.2f} after "
                f"{found['steps']} steps, {found['cpu_seconds']:.0f} s",
                flush=True,
            )
    by_setting = {
        setting: [done[task, seed, setting] for task in tasks for seed in args.seeds]
        for setting in args.settings
    }
    for setting, of_it in by_setting.items():
        print(f"\nsetting: {setting or 'default'}", end="")
        print_table(of_it)
    print(f"\n{'setting':<40}{'steps to 0.9':>14}{'CPU s to 0.9':>14}{'ms/step':>9}{'not':>5}")
    for setting, of_it in by_setting.items():
        means = summary(of_it)
        print(
            f"{setting or 'default':<40}{means['steps_to_0.9']:>14.0f}"
            f"{means['cpu_seconds_to_0.9']:>14.1f}{means['cpu_ms_per_step']:>9.2f}"
            f"{means['not_reached']:>5.0f}"
        )
    if args.json:
        first = by_setting[args.settings[0]]
        report = {
            "command": "python scripts/learnability.py",
            "jobs": args.jobs,
            "machine": platform.platform(),
            "settings": {setting: summary(of_it) for setting, of_it in by_setting.items()},
            "tasks": {
                task: {"seeds": {str(c["seed"]): c for c in first if c["task"] == task}}
                for task in tasks
            },
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def get_tasks(sequence: str) -> tuple[str, ...]:
    from lifelong_rl.envs.sequences import SEQUENCES

    return SEQUENCES[sequence].tasks


if __name__ == "__main__":
    main()
