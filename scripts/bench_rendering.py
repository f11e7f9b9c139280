"""Measure frames per second of our renderer against MuJoCo's default quality, and pixel VecEnvs.

Each repeat times, one after another on the same task:

- ``default``: ``mujoco.Renderer`` as it comes, on the front camera and one simulation;
- ``ours``: `lifelong_rl.envs.rendering.Renderer` on the same camera, size and states;
- ``physics`` and ``rendering``: the batch's control steps, and pictures of every row after each;
- ``pixels``: ``lifelong_rl.envs.make_vec(observation="pixels")`` taking the same steps, as a
  learner would drive it, with rewards, infos, resets and terminal observations.

The table shows medians over the repeats; ratios are taken within a repeat. ``overhead`` is what
the pixel ``VecEnv`` takes over the sum of its physics and its rendering. Run it on an otherwise
idle machine::

    python scripts/bench_rendering.py --json bench_rendering.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from lifelong_rl import envs  # before mujoco: it chooses how to render without a display
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.rendering import Renderer
from lifelong_rl.envs.vec_env import BatchVecEnv

import mujoco  # isort: skip

TASKS = ("push", "drawer-open", "window-slide", "valve-tri", "valve-wheel")
CAMERA = "front"
NUM_ENVS = 8
DEFAULT_FRAMES = 4
"""Frames of the default quality in a timing; a frame takes a tenth of a second."""


class Bench:
    """What is timed of one task.

    Args:
        task: the task's name.
        size: width and height of the frames, in pixels.
        steps: control steps in a timing.
        num_threads: threads that step the physics.
    """

    def __init__(self, task: str, size: int, steps: int, num_threads: int) -> None:
        found = envs.get_task(task)
        rng = np.random.default_rng(0)
        self._actions = rng.uniform(-1.0, 1.0, (steps, NUM_ENVS, found.action_dim))
        self._env = BatchEnv(found, NUM_ENVS, num_threads)
        self._env.seed(0)
        self._env.reset()
        self._ours = Renderer(self._env, camera=CAMERA, width=size, height=size)
        self._camera = found.cameras[CAMERA]
        self._default = mujoco.Renderer(self._env.batch.model, size, size)
        self._data = mujoco.MjData(self._env.batch.model)
        self._pixels: BatchVecEnv = envs.make_vec(
            task,
            num_envs=NUM_ENVS,
            num_threads=num_threads,
            seed=0,
            observation="pixels",
            proprioception=False,
            cameras=(CAMERA,),
            size=size,
        )
        self._pixels.reset()

    def time_default(self) -> float:
        """Return seconds per frame of MuJoCo's own renderer."""
        begin = time.perf_counter()
        for row in range(DEFAULT_FRAMES):
            self._env.batch.get_data(row, self._data)
            mujoco.mj_forward(self._env.batch.model, self._data)
            self._default.update_scene(self._data, self._camera)
            self._default.render()
        return (time.perf_counter() - begin) / DEFAULT_FRAMES

    def time_parts(self) -> tuple[float, float]:
        """Return seconds per control step of a row: physics, and a picture of it."""
        rows = np.arange(NUM_ENVS)
        physics = rendering = 0.0
        for action in self._actions:
            begin = time.perf_counter()
            step = self._env.step(action)
            if step.truncated.any():
                self._env.reset(step.truncated)
            between = time.perf_counter()
            self._ours.render_rows(rows, [CAMERA])
            physics += between - begin
            rendering += time.perf_counter() - between
        frames = len(self._actions) * NUM_ENVS
        return physics / frames, rendering / frames

    def time_pixels(self) -> float:
        """Return seconds per control step of a row of the pixel ``VecEnv``."""
        begin = time.perf_counter()
        for action in self._actions:
            self._pixels.step(action)
        return (time.perf_counter() - begin) / (len(self._actions) * NUM_ENVS)

    def close(self) -> None:
        """Free the OpenGL contexts."""
        self._pixels.close()
        self._ours.close()
        self._default.close()


def measure(task: str, size: int, steps: int, repeats: int, num_threads: int) -> dict[str, float]:
    """Return the medians of one task: frames/s, microseconds per step of a row, and ratios."""
    bench = Bench(task, size, steps, num_threads)
    timings: list[dict[str, float]] = []
    for repeat in range(repeats + 1):
        default = bench.time_default()
        physics, rendering = bench.time_parts()
        pixels = bench.time_pixels()
        if repeat:  # the first one warms up
            timings.append(
                {
                    "default_frames_per_s": 1.0 / default,
                    "our_frames_per_s": 1.0 / rendering,
                    "ratio": default / rendering,
                    "physics_us": 1e6 * physics,
                    "rendering_us": 1e6 * rendering,
                    "pixels_us": 1e6 * pixels,
                    "overhead": pixels / (physics + rendering),
                }
            )
    bench.close()
    return {name: statistics.median(t[name] for t in timings) for name in timings[0]}


def main() -> None:
    """Measure every task, print the table and write the figures."""
    parser = argparse.ArgumentParser(description="frames/s of our renderer and of MuJoCo's default")
    parser.add_argument("--tasks", nargs="+", default=TASKS, help="tasks to measure")
    parser.add_argument("--size", type=int, default=64, help="width and height of a frame")
    parser.add_argument("--steps", type=int, default=25, help="control steps per timing")
    parser.add_argument("--repeats", type=int, default=7, help="interleaved repeats")
    parser.add_argument("--threads", type=int, default=1, help="threads that step the physics")
    parser.add_argument("--json", type=Path, help="file for the same figures")
    args = parser.parse_args()

    print(
        f"{args.size}x{args.size} frames, {NUM_ENVS} environments, median of {args.repeats} "
        "repeats; times per control step of an environment"
    )
    columns = ("default/s", "ours/s", "ratio", "physics µs", "+ rendering", "pixels", "overhead")
    print(f"{'task':<14}" + "".join(f"{name:>13}" for name in columns))
    figures: dict[str, Any] = {}
    for task in args.tasks:
        m = figures[task] = measure(task, args.size, args.steps, args.repeats, args.threads)
        print(
            f"{task:<14}{m['default_frames_per_s']:>13.1f}{m['our_frames_per_s']:>13.0f}"
            f"{m['ratio']:>13.0f}{m['physics_us']:>13.0f}{m['rendering_us']:>13.0f}"
            f"{m['pixels_us']:>13.0f}{m['overhead']:>13.2f}",
            flush=True,
        )
    if args.json:
        report = {
            "size": args.size,
            "num_envs": NUM_ENVS,
            "num_threads": args.threads,
            "steps": args.steps,
            "repeats": args.repeats,
            "mujoco": mujoco.__version__,
            "machine": platform.platform(),
            "tasks": figures,
        }
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
