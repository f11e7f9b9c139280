"""Write the golden steps of every task, or of those named.

A file holds one episode of the task's expert with a little noise, so that things are moved: before
and after each step everything the next one depends on
(`lifelong_rl.envs.batch_env.BatchEnv.snapshot`), the action, and what the step gave. The test
computes each step from its own stored start, so that the last bit of a sine, which differs between
processors, does not add up over the episode.

Contacts appear and vanish at once: where two faces lie on each other, the last bit of a position
decides how many contacts there are, and the next state follows. Such a step is no golden anywhere.
The writer finds these by disturbing what each step starts from by `DISTURBANCE`, some fifty times
what rounding does, and marks as ``steady`` those that still end where they did to `TOLERANCE`. It
is a clean cut: disturbed, 1288 of the 1310 steps of all tasks stay within 2e-10, the others part by
more than 4e-6.

Run it after a task was changed on purpose and its version raised::

    python tests/envs/write_golden.py drawer-open
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from lifelong_rl import envs
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.task import Task

SEED = 5
FOLDER = Path(__file__).parent / "golden"
TOLERANCE = 1e-9
"""Of a number of a state, absolute and relative together."""
DISTURBANCE = 1e-14
"""Relative, of every number of a state."""
TRIALS = 50
"""Disturbances of each step."""


def write(name: str) -> None:
    """Follow the expert for one episode, and write what happened."""
    task, expert = envs.get_task(name), get_expert(name)
    env = BatchEnv(task, 1)
    env.seed(SEED)
    rng = np.random.default_rng(SEED)
    observations, snapshots, steps, chosen = [env.reset()], [env.snapshot()], [], []
    for _ in range(task.horizon):
        action = expert(env.state()) + rng.normal(0.0, 0.1, task.action_dim)
        chosen.append(np.clip(action, -1, 1))
        steps.append(env.step(chosen[-1]))
        observations.append(steps[-1].observation)
        snapshots.append(env.snapshot())
    actions = np.concatenate(chosen)
    kept = {key: np.concatenate([taken[key] for taken in snapshots]) for key in snapshots[0]}
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(
        FOLDER / f"{name}.npz",
        version=np.array(task.version),
        mujoco=np.array(mujoco.__version__),
        seed=np.array(SEED),
        actions=actions,
        observations=np.concatenate(observations),
        terms=np.concatenate([step.terms for step in steps]),
        success=np.concatenate([step.success for step in steps]),
        steady=find_steady(task, kept, actions),
        **{f"kept/{key}": array for key, array in kept.items()},
    )


def find_steady(task: Task[Any, Any], kept: dict[str, np.ndarray], actions: np.ndarray) -> Any:
    """Return which steps end where they did though their starts are disturbed, (steps,) bool."""
    env = BatchEnv(task, len(actions))
    rng = np.random.default_rng(SEED)
    before = {key: array[:-1].copy() for key, array in kept.items()}
    after = kept["physics"][1:]
    steady = np.ones(len(actions), bool)
    for _ in range(TRIALS):
        noise = rng.uniform(-DISTURBANCE, DISTURBANCE, after.shape)
        before["physics"] = kept["physics"][:-1] * (1.0 + noise)
        env.restore(before)
        env.step(actions)
        steady &= np.isclose(env.batch.state, after, rtol=TOLERANCE, atol=TOLERANCE).all(axis=1)
    return steady


if __name__ == "__main__":
    for task in sys.argv[1:] or envs.TASKS:
        write(task)
