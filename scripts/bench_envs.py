"""Measure control steps per second of ``envs.make_vec`` against a plain loop over ``mj_step``.

Each repeat times, one after another on the same task:

- ``plain``: one ``MjData`` of the same model stepped by ``mj_step(nstep=10)`` in a Python loop,
  which sets joint targets recorded from the batch and restarts episodes from recorded states,
  so both sides see the same motions and contacts;
- ``make_vec`` with 32 environments on 1 thread and on 2: actions, inverse kinematics, physics,
  observations, rewards, infos and resets, as a learner would drive it.

The table shows medians over the repeats. Run it on an otherwise idle machine::

    python scripts/bench_envs.py --json bench_envs.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import mujoco
import numpy as np

import envs
from envs.arm.controller import SUBSTEPS
from envs.batch_env import BatchEnv
from envs.vec_env import BatchVecEnv

NUM_ENVS = 32
THREADS = (1, 2)


def random_actions(steps: int, seed: int) -> np.ndarray:
    """Return uniform actions for every control step, (steps, NUM_ENVS, 4)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (steps, NUM_ENVS, 4)).astype(np.float32)


def record(task: str, actions: np.ndarray) -> tuple[mujoco.MjModel, np.ndarray, np.ndarray]:
    """Run the batch once and keep what the plain loop needs to repeat row after row of it.

    Returns:
        The model; the states at the start of every control step followed by the joint targets the
        controller then chose, (NUM_ENVS, steps, nstate + nu); whether an episode starts there,
        (steps,).
    """
    env = BatchEnv(envs.get_task(task), NUM_ENVS)
    env.seed(0)
    env.reset()
    batch = env.batch
    states = np.empty((NUM_ENVS, len(actions), batch.nstate))
    chosen = np.empty((NUM_ENVS, len(actions), batch.model.nu))
    starts = np.empty(len(actions), bool)
    for t, action in enumerate(actions):
        states[:, t] = batch.state
        starts[t] = env.elapsed[0] == 0
        step = env.step(action)
        chosen[:, t] = batch.bind("ctrl")
        if step.truncated.any():
            env.reset(step.truncated)
    return batch.model, np.concatenate([states, chosen], axis=2), starts


def time_plain(model: mujoco.MjModel, recorded: np.ndarray, starts: np.ndarray) -> float:
    """Return control steps per second of the plain loop."""
    nstate = recorded.shape[2] - model.nu
    spec = mujoco.mjtState.mjSTATE_INTEGRATION
    data = mujoco.MjData(model)
    begin = time.perf_counter()
    for row in recorded:
        for t in range(len(row)):
            if starts[t]:
                mujoco.mj_setState(model, data, row[t, :nstate], spec)
            data.ctrl[:] = row[t, nstate:]
            mujoco.mj_step(model, data, nstep=SUBSTEPS)
    rate: float = recorded.shape[0] * recorded.shape[1] / (time.perf_counter() - begin)
    return rate


def time_vec(env: BatchVecEnv, actions: np.ndarray) -> float:
    """Return control steps per second of a vectorised environment."""
    env.seed(0)
    env.reset()
    begin = time.perf_counter()
    for action in actions:
        env.step(action)
    return len(actions) * NUM_ENVS / (time.perf_counter() - begin)


def measure(task: str, steps: int, repeats: int) -> dict[str, float]:
    """Return the medians of one task, in control steps per second and as ratios."""
    actions = random_actions(steps, seed=0)
    model, recorded, starts = record(task, actions)
    vec = {n: envs.make_vec(task, num_envs=NUM_ENVS, num_threads=n, seed=0) for n in THREADS}
    rates: dict[str, list[float]] = {"plain": [], **{f"threads_{n}": [] for n in THREADS}}
    for _ in range(repeats):
        rates["plain"].append(time_plain(model, recorded, starts))
        for n, env in vec.items():
            rates[f"threads_{n}"].append(time_vec(env, actions))
    result = {name: statistics.median(values) for name, values in rates.items()}
    for n in THREADS:  # paired within a repeat, so that a busy moment cancels out
        ratios = [a / b for a, b in zip(rates[f"threads_{n}"], rates["plain"], strict=True)]
        result[f"ratio_{n}"] = statistics.median(ratios)
    return result


def main() -> None:
    """Measure every task, print the table and write the figures."""
    parser = argparse.ArgumentParser(description="control steps/s of make_vec and a plain loop")
    parser.add_argument("--tasks", nargs="+", default=list(envs.TASKS), help="tasks to measure")
    parser.add_argument("--steps", type=int, default=100, help="control steps per timing")
    parser.add_argument("--repeats", type=int, default=7, help="interleaved repeats")
    parser.add_argument("--json", type=Path, help="file for the same figures")
    arguments = parser.parse_args()

    print(f"control steps/s, {NUM_ENVS} environments, median of {arguments.repeats} repeats")
    print(
        f"{'task':<14}{'plain loop':>12}{'1 thread':>12}{'ratio':>8}{'2 threads':>12}{'ratio':>8}"
    )
    figures = {}
    for task in arguments.tasks:
        m = figures[task] = measure(task, arguments.steps, arguments.repeats)
        print(
            f"{task:<14}{m['plain']:>12.0f}{m['threads_1']:>12.0f}{m['ratio_1']:>8.2f}"
            f"{m['threads_2']:>12.0f}{m['ratio_2']:>8.2f}",
            flush=True,
        )
    if arguments.json:
        report = {
            "num_envs": NUM_ENVS,
            "substeps": SUBSTEPS,
            "steps": arguments.steps,
            "repeats": arguments.repeats,
            "mujoco": mujoco.__version__,
            "machine": platform.platform(),
            "tasks": figures,
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
