"""Measure what a step of Meta-World takes through this suite, beside what it takes alone.

Each repeat steps, one after another, the same task by the same random actions:

- ``own``: Meta-World's environment as its benchmark MT1 makes it, ``gymnasium.make
  ("Meta-World/MT1")``, in a loop that resets it at the end of an episode;
- ``bare``: the same without Gymnasium's and Meta-World's wrappers, the least that there is;
- ``ours``: `MetaWorldTask.make_env` as a learner drives it: padded observations with a one-hot,
  rescaled actions, success and return of each episode, and what a resumed run repeats.

All have episodes of `HORIZON` steps, rewards of version v2 and starts drawn at random. The table
shows microseconds of CPU time a step, resets included, as medians over the repeats, and the ratio
of theirs to ours within a repeat: 1 where ours cost nothing more::

    python scripts/bench_metaworld.py --json docs/results/bench_metaworld.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np

from lifelong_rl.envs.continual_world import CW10_TASKS
from lifelong_rl.envs.metaworld import MetaWorldTask
from lifelong_rl.envs.metaworld.installed import VERSION, import_metaworld
from lifelong_rl.envs.metaworld.vec_env import MetaWorldVecEnv

HORIZON = 200
NUM_ENVS = 4
NAMES = ("own", "bare", "ours")


def make_own(task: str) -> Any:
    """Return Meta-World's environment with its wrappers."""
    import_metaworld()  # registers its environments
    return gymnasium.make(
        "Meta-World/MT1",
        env_name=task,
        seed=0,
        max_episode_steps=HORIZON,
        disable_env_checker=True,
    )


def make_bare(task: str) -> Any:
    """Return Meta-World's environment alone, set up as `MetaWorldEnv` does it."""
    env = import_metaworld().ALL_V3_ENVIRONMENTS[task](reward_function_version="v2")
    env._partially_observable = False
    del env.sawyer_observation_space
    env._set_task_called = True
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    env.max_path_length = HORIZON
    return env


def step_one(env: Any, actions: np.ndarray) -> None:
    """Step one environment of Gymnasium, from a reset on."""
    env.reset()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()


def step_rows(env: MetaWorldVecEnv, actions: np.ndarray) -> None:
    """Step all rows by the same actions, `NUM_ENVS` at a time."""
    env.reset()
    for action in actions.reshape(-1, NUM_ENVS, 4):
        env.step(action)


def measure(task: str, steps: int, repeats: int) -> dict[str, float]:
    """Return microseconds a step of each, and the ratios, as medians."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (steps, 4)).astype(np.float32)
    rows = MetaWorldTask(task, task).make_env(
        num_envs=NUM_ENVS, num_threads=1, seed=0, one_hot=(0, 10), obs_dim=39, action_dim=4
    )
    timed: dict[str, Callable[[], None]] = {
        "own": partial(step_one, make_own(task), actions),
        "bare": partial(step_one, make_bare(task), actions),
        "ours": partial(step_rows, rows, actions),
    }
    spent: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(repeats):
        for name, run in timed.items():
            begin = time.process_time()
            run()
            spent[name].append(1e6 * (time.process_time() - begin) / steps)
    found = {name: statistics.median(values) for name, values in spent.items()}
    for name in ("own", "bare"):
        pairs = zip(spent[name], spent["ours"], strict=True)
        found[f"ratio_{name}"] = statistics.median(theirs / ours for theirs, ours in pairs)
    return found


def main() -> None:
    """Measure every task, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(CW10_TASKS), help="default: CW10")
    parser.add_argument("--steps", type=int, default=800, help="of each timing")
    parser.add_argument("--repeats", type=int, default=5, help="interleaved repeats")
    parser.add_argument("--json", type=Path, help="file for the same figures")
    args = parser.parse_args()
    print(f"microseconds of CPU time a step, median of {args.repeats} repeats; ratios to ours")
    print(f"{'task':<24}{'own':>8}{'bare':>8}{'ours':>8}{'own/ours':>10}{'bare/ours':>11}")
    figures = {}
    for task in args.tasks:
        m = figures[task] = measure(task, args.steps, args.repeats)
        print(
            f"{task:<24}{m['own']:>8.0f}{m['bare']:>8.0f}{m['ours']:>8.0f}"
            f"{m['ratio_own']:>10.2f}{m['ratio_bare']:>11.2f}",
            flush=True,
        )
    medians = {
        name: statistics.median(m[name] for m in figures.values())
        for name in ("ratio_own", "ratio_bare")
    }
    print(f"median over the tasks: {medians['ratio_own']:.2f} {medians['ratio_bare']:.2f}")
    if args.json:
        report = {
            "steps": args.steps,
            "repeats": args.repeats,
            "num_envs": NUM_ENVS,
            "versions": {"metaworld": VERSION, "mujoco": mujoco.__version__},
            "machine": platform.platform(),
            "medians": medians,
            "tasks": figures,
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
