"""What a GPU makes of updates, beside one core of the CPU.

    python scripts/bench_device.py --json bench_device.json

State SAC at two widths, pixel SAC from scratch and SimCLR pretraining do updates on each device in
turns, on noise: nothing but updates is timed, until the device has done all of them. Then several
cells of state SAC, a process each, share each device. A few minutes; the table names the card.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl import agents
from lifelong_rl.errors import UserError
from lifelong_rl.learning.devices import describe_device, find_gpus, open_device, synchronize
from lifelong_rl.storage.atomic import write_json
from lifelong_rl.storage.versions import cpu_model, versions
from lifelong_rl.text import format_table
from lifelong_rl.vision.eyes import Eyes
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives import make
from lifelong_rl.vision.pretrain import PretrainConfig, optimise

OBSERVATION_DIM = 33  # about an arm task's observation with its one-hot
ACTION_DIM = 4
SIZE = 64
HELD = 512
"""Transitions in the replay buffers."""

Update = Callable[[int], object]
"""Does the number of updates that it is given."""


class Noise(gym.Env[np.ndarray, np.ndarray]):
    """Random observations and rewards."""

    observation_space = gym.spaces.Box(-1, 1, (OBSERVATION_DIM,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACTION_DIM,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        return self.observation_space.sample(), float(self.np_random.random()), False, False, {}


class PixelNoise(Noise):
    """Random pictures."""

    observation_space = gym.spaces.Box(0, 255, (3, SIZE, SIZE), np.uint8)


def sac(kind: type[Noise], device: torch.device, **options: Any) -> Update:
    """Updates of SAC as runs make it, on noise."""
    agent = agents.SAC.build(
        DummyVecEnv([kind] * 4),
        num_tasks=1,
        method=None,
        seed=0,
        device=device,
        learning_starts=HELD,
        **options,
    )
    agent.set_logger(Logger(folder=None, output_formats=[]))
    agent.learn(HELD, log_interval=2**62)
    return agent.rehearse


def simclr(device: torch.device) -> Update:
    """Steps of pretraining, on noise."""
    rng = np.random.default_rng(0)
    episodes, steps = np.divmod(np.arange(1024), 32)
    nothing = np.zeros(1024, np.int64)
    frames = Frames(
        images=rng.integers(256, size=(1024, 1, 3, SIZE, SIZE), dtype=np.uint8),
        episodes=episodes,
        steps=steps,
        tasks=nothing,
        policies=nothing,
        labels={name: np.zeros((1024, 1), np.float32) for name in ("hand", "object", "joints")},
        metadata={"tasks": ["noise"], "cameras": ["front"], "policies": ["noise"]},
    )
    torch.manual_seed(0)
    losses = optimise(make("simclr", frames).to(device), frames, PretrainConfig())
    return lambda updates: [next(losses) for _ in range(updates)]


CASES: dict[str, Callable[[torch.device], Update]] = {
    "state SAC [256, 256]": lambda device: sac(Noise, device, hidden=[256, 256]),
    "state SAC [1024, 1024]": lambda device: sac(Noise, device, hidden=[1024, 1024]),
    "pixel SAC from scratch": lambda device: sac(PixelNoise, device, eyes=Eyes()),
    "SimCLR pretraining": simclr,
}
"""What is measured, each with the batch of 256 rows that is the default."""


def measure(update: Update, updates: int, device: torch.device) -> float:
    """Seconds of an update."""
    synchronize(device)
    start = time.perf_counter()
    update(updates)
    synchronize(device)
    return (time.perf_counter() - start) / updates


def bench(name: str, devices: Sequence[torch.device], seconds: float, repeats: int) -> list[dict]:
    """A row for each device, which are measured in turns; ratios are to the first."""
    made = {device: CASES[name](device) for device in devices}
    counts = {}
    for device, update in made.items():
        measure(update, 1, device)  # the first one allocates
        counts[device] = max(1, int(seconds / measure(update, 1, device)))
    times: dict[torch.device, list[float]] = {device: [] for device in devices}
    for _ in range(repeats):
        for device, update in made.items():
            times[device].append(measure(update, counts[device], device))
    rows = []
    for device, taken in times.items():
        ratios = [first / own for first, own in zip(times[devices[0]], taken, strict=True)]
        rows.append(
            {
                "case": name,
                "device": describe_device(device),
                "updates_per_second": 1 / statistics.median(taken),
                "ratio": statistics.median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
            }
        )
    return rows


def bench_cells(device: torch.device, cells: int, seconds: float) -> dict:
    """The updates of some processes together on one device, beside those of one."""

    def rate(processes: int) -> float:
        command = [sys.executable, __file__, "--worker", str(device), "--seconds", str(seconds)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers: list[Any] = [
            subprocess.Popen(command, env=environment, **pipes)  # type: ignore[call-overload]
            for _ in range(processes)
        ]
        try:
            for worker in workers:
                worker.stdout.readline()  # it is ready
            for worker in workers:
                worker.stdin.write("begin\n")
                worker.stdin.flush()
            return sum(float(worker.stdout.readline()) for worker in workers)
        finally:
            for worker in workers:
                worker.communicate()

    alone, together = rate(1), rate(cells)
    return {
        "case": f"{cells} cells at once, state SAC [256, 256]",
        "device": describe_device(device),
        "updates_per_second": together,
        "ratio_to_one_cell": together / alone,
    }


def work(device: torch.device, seconds: float) -> None:
    """Be one of several cells: say when it is ready, and how many updates a second it then does."""
    update = CASES["state SAC [256, 256]"](device)
    measure(update, 10, device)
    print("ready", flush=True)
    sys.stdin.readline()
    start, updates = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        update(10)
        updates += 10
    synchronize(device)
    print(updates / (time.perf_counter() - start), flush=True)


def table(rows: Sequence[dict]) -> str:
    """The rows for people."""
    lines = []
    for row in rows:
        if "ratio" in row:
            told = f"{row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
        else:
            told = f"{row['ratio_to_one_cell']:.2f} of one cell's"
        lines.append([row["case"], row["device"], f"{row['updates_per_second']:.1f}", told])
    return format_table(["", "device", "updates/s", "ratio"], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", nargs="+", help="by default the CPU and the first GPU")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cells", type=int, default=4, help="at once on a device; 0 for none")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if args.worker is not None:
        work(open_device(args.worker), args.seconds)
        return 0
    if args.devices is None and not find_gpus():
        print("there is no GPU here; --devices cpu measures the CPU alone", file=sys.stderr)
        return 1
    try:
        devices = [open_device(name) for name in args.devices or ["cpu", find_gpus()[0]]]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    rows = []
    for name in args.cases:
        rows += bench(name, devices, args.seconds, args.repeats)
        print(table(rows[-len(devices) :]), flush=True)
    for device in devices if args.cells else ():
        rows.append(bench_cells(device, args.cells, args.seconds))
        print(table(rows[-1:]), flush=True)
    machine = {"cpu": cpu_model(), "cores": os.cpu_count()}
    print(f"\n{machine['cpu']}, {machine['cores']} cores; one thread\n{table(rows)}")
    if args.json is not None:
        write_json(args.json, {"rows": rows, "machine": machine, "versions": versions()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
