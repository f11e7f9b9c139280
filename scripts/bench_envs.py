"""Measure control steps per second of ``make_vec`` against a plain loop over ``mj_step``.

Each repeat times, one after another on the same task:

- ``plain``: one ``MjData`` of the same model stepped by ``mj_step(nstep=10)`` in a Python loop,
  which sets joint targets recorded from the batch and restarts episodes from recorded states,
  so both sides see the same motions and contacts;
- ``make_vec`` with 32 environments on 1 thread and on 2: actions, inverse kinematics, physics,
  observations, rewards, infos and resets, as a learner would drive it;
- the physics of these alone, on as many threads, from the same recorded states and targets: the
  limit of what ``make_vec`` can reach;
- where it is installed, Meta-World's environment of the same skill through its own Gymnasium
  interface, with random actions too.

The table shows medians over the repeats; ratios are taken within a repeat, those of 1 thread of CPU
time and those of 2 threads of wall-clock time. Run it on an otherwise idle machine, as a share of a
core says nothing of two threads::

    python scripts/bench_envs.py --json bench_envs.json

Meta-World 3.1.1 pins MuJoCo 3.3.0 and so lives in an environment of its own::

    python -m venv metaworld && metaworld/bin/pip install metaworld==3.1.1 packaging
    python scripts/bench_envs.py --metaworld metaworld/bin/python
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mujoco
import numpy as np
from mujoco.batch import Batch

from lifelong_rl import envs
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.vec_env import BatchVecEnv

NUM_ENVS = 32
THREADS = (1, 2)
WALL, CPU = 0, 1
METAWORLD = {
    "reach": "reach-v3",
    "button-press": "button-press-topdown-v3",
    "drawer-open": "drawer-open-v3",
    "drawer-close": "drawer-close-v3",
    "door-open": "door-open-v3",
    "faucet-turn": "faucet-open-v3",
    "window-slide": "window-open-v3",
    "push": "push-v3",
    "pick-place": "pick-place-v3",
    "peg-unplug": "peg-unplug-side-v3",
}
"""Meta-World's environment for each of our tasks."""
METAWORLD_WORKER = """
import sys, time
from importlib.metadata import version
import gymnasium, metaworld, mujoco
metaworld  # registers its environments
env = gymnasium.make("Meta-World/MT1", env_name=sys.argv[1], seed=0)
actions = [env.action_space.sample() for _ in range(int(sys.argv[2]))]
print(version("metaworld"), "with MuJoCo", mujoco.__version__, flush=True)
for _ in sys.stdin:  # a line for each timing
    env.reset()
    begin = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    print(len(actions) / (time.perf_counter() - begin), flush=True)
"""
METAWORLD_STEPS = 1_000
"""Control steps of Meta-World per timing: two of its episodes."""


def random_actions(steps: int, action_dim: int, seed: int) -> np.ndarray:
    """Return uniform actions for every control step, (steps, NUM_ENVS, action_dim)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, (steps, NUM_ENVS, action_dim)).astype(np.float32)


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


def clocks() -> np.ndarray:
    """Return wall-clock time and this thread's CPU time, (2,), s."""
    return np.array([time.perf_counter(), time.thread_time()])


def time_plain(
    model: mujoco.MjModel, recorded: np.ndarray, starts: np.ndarray, substeps: int
) -> np.ndarray:
    """Return control steps per second of the plain loop, by either of the `clocks`, (2,)."""
    nstate = recorded.shape[2] - model.nu
    spec = mujoco.mjtState.mjSTATE_INTEGRATION
    data = mujoco.MjData(model)
    begin = clocks()
    for row in recorded:
        for t in range(len(row)):
            if starts[t]:
                mujoco.mj_setState(model, data, row[t, :nstate], spec)
            data.ctrl[:] = row[t, nstate:]
            mujoco.mj_step(model, data, nstep=substeps)
    rates: np.ndarray = recorded.shape[0] * recorded.shape[1] / (clocks() - begin)
    return rates


def time_physics(
    batch: Batch, recorded: np.ndarray, starts: np.ndarray, substeps: int
) -> np.ndarray:
    """Return control steps per second of the physics alone, by either of the `clocks`, (2,)."""
    ctrl, stage = batch.bind("ctrl"), mujoco.mjtStage.mjSTAGE_VEL.value
    states, targets = np.split(recorded.swapaxes(0, 1), [batch.nstate], axis=2)
    begin = clocks()
    for state, target, starting in zip(states, targets, starts, strict=True):
        if starting:
            batch.state[:] = state
            batch.forward(stage=stage)
        ctrl[:] = target
        batch.step(nstep=substeps, stage=stage)
    rates: np.ndarray = len(starts) * NUM_ENVS / (clocks() - begin)
    return rates


def time_vec(env: BatchVecEnv, actions: np.ndarray) -> np.ndarray:
    """Return control steps per second of an environment, by either of the `clocks`, (2,)."""
    env.seed(0)
    env.reset()
    begin = clocks()
    for action in actions:
        env.step(action)
    rates: np.ndarray = len(actions) * NUM_ENVS / (clocks() - begin)
    return rates


class MetaWorld:
    """Meta-World in a process of its own, which waits while the others are timed."""

    def __init__(self, python: Path, task: str) -> None:
        """Start it; raises SystemExit if it fails."""
        arguments = [str(python), "-c", METAWORLD_WORKER, METAWORLD[task], str(METAWORLD_STEPS)]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.version = self._read()

    def time(self) -> np.ndarray:
        """Return control steps per second by the wall clock, twice, (2,)."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        return np.full(2, float(self._read()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"Meta-World ended with {self._process.wait()}; see above")
        return line.strip()


def measure(task: str, steps: int, repeats: int, metaworld: Path | None) -> dict[str, float]:
    """Return the medians of one task, in control steps per second and as ratios."""
    found = envs.get_task(task)
    actions = random_actions(steps, found.action_dim, seed=0)
    model, recorded, starts = record(task, actions)
    replayed = recorded, starts, found.substeps
    timers: dict[str, Callable[[], np.ndarray]] = {"plain": lambda: time_plain(model, *replayed)}
    for n in THREADS:
        env = envs.make_vec(task, num_envs=NUM_ENVS, num_threads=n, seed=0)
        batch = Batch(model, NUM_ENVS, n, persistent=True)
        timers[f"threads_{n}"] = partial(time_vec, env, actions)
        timers[f"physics_{n}"] = partial(time_physics, batch, *replayed)
    other = MetaWorld(metaworld, task) if metaworld and task in METAWORLD else None
    if other:
        timers["metaworld"] = other.time
    rates: dict[str, list[np.ndarray]] = {name: [] for name in timers}
    for _ in range(repeats):
        for name, timer in timers.items():
            rates[name].append(timer())
    result = {name: statistics.median(v[WALL] for v in values) for name, values in rates.items()}

    def ratio(name: str, reference: str, clock: int) -> float:
        """Paired within a repeat, so that a busy moment cancels out."""
        pairs = zip(rates[name], rates[reference], strict=True)
        return statistics.median(float(a[clock] / b[clock]) for a, b in pairs)

    for n in THREADS:
        clock = CPU if n == 1 else WALL
        result[f"ratio_{n}"] = ratio(f"threads_{n}", "plain", clock)
        result[f"limit_{n}"] = ratio(f"physics_{n}", "plain", clock)
    if other:
        other.close()
        result["ratio_metaworld"] = ratio("threads_1", "metaworld", WALL)
    return result


def main() -> None:
    """Measure every task, print the table and write the figures."""
    parser = argparse.ArgumentParser(description="control steps/s of make_vec and a plain loop")
    parser.add_argument("--tasks", nargs="+", default=list(envs.TASKS), help="tasks to measure")
    parser.add_argument("--steps", type=int, default=100, help="control steps per timing")
    parser.add_argument("--repeats", type=int, default=7, help="interleaved repeats")
    parser.add_argument("--metaworld", type=Path, help="Python interpreter that has Meta-World")
    parser.add_argument("--json", type=Path, help="file for the same figures")
    args = parser.parse_args()

    print(f"control steps/s, {NUM_ENVS} environments, median of {args.repeats} repeats;")
    print("ratios to the plain loop and, as limit, the physics' alone; of 1 thread to Meta-World")
    print(
        f"{'task':<20}{'plain loop':>12}{'1 thread':>10}{'ratio':>7}{'limit':>7}{'2 threads':>11}"
        f"{'ratio':>7}{'limit':>7}{'Meta-World':>12}{'ratio':>7}"
    )
    figures = {}
    for task in args.tasks:
        m = figures[task] = measure(task, args.steps, args.repeats, args.metaworld)
        other = f"{m['metaworld']:>12.0f}{m['ratio_metaworld']:>7.2f}" if "metaworld" in m else ""
        print(
            f"{task:<20}{m['plain']:>12.0f}{m['threads_1']:>10.0f}{m['ratio_1']:>7.2f}"
            f"{m['limit_1']:>7.2f}{m['threads_2']:>11.0f}{m['ratio_2']:>7.2f}{m['limit_2']:>7.2f}"
            f"{other}",
            flush=True,
        )
    medians = {
        name: statistics.median(m[name] for m in figures.values())
        for name in ("ratio_1", "limit_1", "ratio_2", "limit_2")
    }
    print("median over the tasks: " + ", ".join(f"{n} {m:.2f}" for n, m in medians.items()))
    both = [m for m in figures.values() if "metaworld" in m]
    if both:  # what a suite takes, where slow tasks count for more than fast ones
        seconds = {name: sum(1 / m[name] for m in both) for name in ("threads_1", "metaworld")}
        together = seconds["metaworld"] / seconds["threads_1"]
        print(f"\none step of each task: Meta-World takes {together:.2f} times as long as 1 thread")
    if args.json:
        report = {
            "num_envs": NUM_ENVS,
            "steps": args.steps,
            "repeats": args.repeats,
            "mujoco": mujoco.__version__,
            "one_step_of_each_task": together if both else None,
            "medians": medians,
            "machine": platform.platform(),
            "tasks": figures,
        }
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
