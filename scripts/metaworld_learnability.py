"""Train SAC on each task of CW10 alone, and tell which it learns soonest: what `cw5` is made of.

    python scripts/metaworld_learnability.py --json docs/results/metaworld_learnability.json
    python scripts/metaworld_learnability.py --setting ent_coef=auto_1 --tasks push-v3

Each task is a cell of its own: our SAC with its defaults but for `SETTING` and what --setting says,
rewards of version v2, episodes of 200 steps and the full observation, from scratch. It is evaluated
every `EVAL_STEPS` steps on `EVAL_EPISODES` episodes, always the same ones, and a cell ends once
`CONFIRM` evaluations in a row succeed at `LEVEL` or more. A finished cell leaves a file in --out
and is not run again; a cell that was interrupted starts anew. The table is sorted by the steps to
the first of those evaluations, then by the mean success over the whole budget, in which a learned
task counts as it was last evaluated.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl.agents import SAC
from lifelong_rl.envs.continual_world import CW10_TASKS
from lifelong_rl.envs.metaworld import MetaWorldEnv
from lifelong_rl.envs.metaworld.installed import VERSION
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.storage.versions import versions

SETTING: dict[str, Any] = {"gamma": 0.99, "learning_starts": 2_000}
"""Options of the agent: episodes here are four times as long as those its defaults are for."""
NUM_ENVS = 8
EVAL_STEPS = 4_000
EVAL_EPISODES = 10
EVAL_SEED = 10_000
LEVEL = 0.8
CONFIRM = 2


class Learned(Exception):
    """The task is learned; no more training is needed."""


def train(task: str, seed: int, steps: int, setting: dict[str, Any]) -> dict[str, Any]:
    """Learn one task, and return its success curve."""
    torch.set_num_threads(1)
    seed_everything(seed, 0)
    env = DummyVecEnv([partial(MetaWorldEnv, task) for _ in range(NUM_ENVS)])
    env.seed(seed)
    agent = SAC.build(env, num_tasks=1, method=None, seed=seed, **setting)
    judge = MetaWorldEnv(task)
    success: list[float] = []
    begin = time.process_time()

    def progress(done: int) -> None:
        if done >= EVAL_STEPS * (len(success) + 1):
            success.append(evaluate(agent, judge))
            if len(success) >= CONFIRM and min(success[-CONFIRM:]) >= LEVEL:
                raise Learned

    agent.begin_task(0, env)
    with contextlib.suppress(Learned):
        agent.learn_task(steps, progress)
    env.close()
    judge.close()
    evaluations = steps // EVAL_STEPS
    whole = success + success[-1:] * (evaluations - len(success))
    learned = len(success) >= CONFIRM and min(success[-CONFIRM:]) >= LEVEL
    return {
        "task": task,
        "seed": seed,
        "budget": steps,
        "setting": setting,
        "learned_after": EVAL_STEPS * (len(success) - CONFIRM + 1) if learned else None,
        "mean_success": round(float(np.mean(whole)), 3),
        "success": success,
        "cpu_seconds": round(time.process_time() - begin),
        "versions": {**versions(), "metaworld": VERSION},
    }


def evaluate(agent: SAC, env: MetaWorldEnv) -> float:
    """Return the share of `EVAL_EPISODES` episodes with a success at any step."""
    solved = 0
    for episode in range(EVAL_EPISODES):
        observation, _ = env.reset(seed=EVAL_SEED if episode == 0 else None)
        success = truncated = False
        while not truncated:
            action = agent.act(observation[None].astype(np.float32))[0]
            observation, _, _, truncated, info = env.step(action)
            success |= bool(info["success"])
        solved += success
    return solved / EVAL_EPISODES


def run_cell(
    task: str, seed: int, steps: int, setting: dict[str, Any], path: Path
) -> dict[str, Any]:
    """Return the cell that a file holds, or train it and write the file."""
    if path.exists():
        cell: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = cell["budget"], cell["setting"], cell["versions"]["metaworld"]
        if same == (steps, setting, VERSION):
            return cell
    cell = train(task, seed, steps, setting)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(cell), encoding="utf-8")
    part.replace(path)
    return cell


def order(cell: dict[str, Any]) -> tuple[float, float]:
    """Return what cells are sorted by: what is learned sooner comes first."""
    after = cell["learned_after"]
    return float("inf") if after is None else after, -cell["mean_success"]


def main() -> None:
    """Run the cells that are missing, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(CW10_TASKS), help="default: CW10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40_000, help="at most, of each task")
    parser.add_argument("--setting", default="", help="of the agent, such as 'ent_coef=auto_1'")
    parser.add_argument("--out", type=Path, default=Path("runs/metaworld_learnability"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    given = dict(entry.split("=") for entry in args.setting.split())
    setting = {**SETTING, **{name: yaml.safe_load(value) for name, value in given.items()}}
    cells = []
    for task in args.tasks:
        path = args.out / (args.setting or "default") / f"{task}-seed{args.seed}.json"
        cell = run_cell(task, args.seed, args.steps, setting, path)
        cells.append(cell)
        curve = " ".join(f"{value:.1f}" for value in cell["success"])
        print(f"{task}: {curve} ({cell['cpu_seconds']} s)", flush=True)
    cells.sort(key=order)
    print(f"\n{'task':<24}{'learned after':>14}{'mean success':>14}{'last':>7}{'CPU s':>8}")
    for cell in cells:
        print(
            f"{cell['task']:<24}{cell['learned_after'] or '-':>14}{cell['mean_success']:>14.2f}"
            f"{cell['success'][-1]:>7.2f}{cell['cpu_seconds']:>8}"
        )
    if args.json:
        report = {
            "num_envs": NUM_ENVS,
            "eval_episodes": EVAL_EPISODES,
            "machine": platform.platform(),
            "cells": cells,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
