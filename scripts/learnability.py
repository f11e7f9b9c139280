"""Train default SAC on each task alone, from scratch, and tell after how many steps it is learned.

    python scripts/learnability.py --json docs/results/learnability.json

Each task and seed is a cell of its own: what `lifelong-rl run --sequence TASK --seed SEED` would
learn, except that a cell ends once the task is learned, which is when `CONFIRM` evaluations in a
row, of 50 episodes and 2 500 steps apart, succeed at 0.95 or more; their last one is the final
success. A level counts as reached at the first evaluation that reaches it and is not followed by
one below it within `CONFIRM` evaluations. Several cells run at a time, one process and one torch
thread each. A finished cell leaves a file in --out and is not run again; a cell that was
interrupted starts anew. The wall-clock includes the evaluations, and whatever else the machine did.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from lifelong_rl import envs
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.evaluation import Evaluator
from lifelong_rl.runs.setup import prepare
from lifelong_rl.storage.versions import versions

LEVELS = (0.8, 0.9)
LEARNED = 0.95
CONFIRM = 3
EVAL_STEPS = 2_500
ARM_STEPS, VALVE_STEPS = 200_000, 80_000
ARM_SEEDS, VALVE_SEEDS = (0, 1, 2), (0,)


class Learned(Exception):
    """The task is learned; no more training is needed."""


def train(task: str, seed: int, steps: int) -> dict[str, Any]:
    """Learn one task with one seed, and return its success curve."""
    torch.set_num_threads(1)
    setup = prepare(RunConfig(sequence=task, seed=seed, steps_per_task=steps, num_threads=1))
    env = setup.make_env(0)
    agent, _ = setup.build_agent(env)
    evaluator = Evaluator(setup.sequence, num_episodes=50, num_threads=1)
    curve: dict[str, list[float]] = {"steps": [], "success": []}
    began = time.perf_counter()

    def evaluate(done: int) -> None:
        curve["steps"].append(done)
        curve["success"].append(evaluator.evaluate(agent.act, 0).success)

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
    seconds = time.perf_counter() - began
    evaluator.close()
    env.close()
    return {
        "task": task,
        "version": envs.get_task(task).version,
        "seed": seed,
        "budget": steps,
        "steps": curve["steps"][-1],
        "seconds": round(seconds, 1),
        "final_success": curve["success"][-1],
        "steps_to": {str(level): steps_to(curve, level) for level in LEVELS},
        "curve": curve,
        "versions": versions(),
    }


def steps_to(curve: dict[str, list[float]], level: float) -> int | None:
    """Return the steps after which the success stays at a level for `CONFIRM` evaluations."""
    success = curve["success"]
    for k, steps in enumerate(curve["steps"]):
        if min(success[k : k + CONFIRM]) >= level:
            return int(steps)
    return None


def run_cell(task: str, seed: int, steps: int, path: Path) -> dict[str, Any]:
    """Return the cell that a file holds, or train it and write the file."""
    if path.exists():
        cell: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if cell["version"] == envs.get_task(task).version and cell["versions"] == versions():
            return cell
    cell = train(task, seed, steps)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(cell), encoding="utf-8")
    part.replace(path)
    return cell


def is_valve(task: str) -> bool:
    return task.startswith("valve-")


def print_table(cells: list[dict[str, Any]]) -> None:
    print(
        f"\n{'task':<20}{'seed':>5}{'to 0.8':>9}{'to 0.9':>9}{'final':>7}{'steps':>9}{'seconds':>9}"
    )
    for cell in cells:
        reached = "".join(f"{cell['steps_to'][str(level)] or '-':>9}" for level in LEVELS)
        print(
            f"{cell['task']:<20}{cell['seed']:>5}{reached}{cell['final_success']:>7.2f}"
            f"{cell['steps']:>9}{cell['seconds']:>9.0f}"
        )


def main() -> None:
    """Run the cells that are missing, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", help="default: the arm's tasks and ten valves")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2, valves 0")
    parser.add_argument("--steps", type=int, help="at most; default: 200 000, valves 80 000")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--out", type=Path, default=Path("runs/learnability"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    tasks = args.tasks or [*get_tasks("arm10"), *get_tasks("claw10")]
    args.out.mkdir(parents=True, exist_ok=True)
    cells = [
        (task, seed, args.steps or (VALVE_STEPS if is_valve(task) else ARM_STEPS))
        for task in tasks
        for seed in (args.seeds or (VALVE_SEEDS if is_valve(task) else ARM_SEEDS))
    ]
    done: dict[tuple[str, int], dict[str, Any]] = {}
    # a fresh interpreter for each cell: torch does not survive a fork, and buffers are large
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, mp_context=context, max_tasks_per_child=1) as pool:
        waiting = {
            pool.submit(run_cell, *cell, args.out / f"{cell[0]}-seed{cell[1]}.json"): cell
            for cell in cells
        }
        for future in as_completed(waiting):
            task, seed, _ = waiting[future]
            cell = done[task, seed] = future.result()
            print(
                f"{task} seed {seed}: {cell['final_success']:.2f} after {cell['steps']} steps, "
                f"{cell['seconds']:.0f} s",
                flush=True,
            )
    ordered = [done[task, seed] for task, seed, _ in cells]
    print_table(ordered)
    if args.json:
        report = {
            "command": "python scripts/learnability.py",
            "jobs": args.jobs,
            "machine": platform.platform(),
            "tasks": {
                task: {"seeds": {str(c["seed"]): c for c in ordered if c["task"] == task}}
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
