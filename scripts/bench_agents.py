"""Measure our SAC's updates per second against Stable-Baselines3's, interleaved in one run.

Same networks, batch size and replay buffer contents, one torch thread. The ratio is taken pair by
pair, so that it holds when the machine's speed drifts.

    python scripts/bench_agents.py --json agents.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl import agents
from lifelong_rl.continual import make

OBSERVATION_DIM = 33  # about an arm task's observation with its one-hot
ACTION_DIM = 4


class Noise(gym.Env[np.ndarray, np.ndarray]):
    """Random observations and rewards: only the update is measured."""

    observation_space = gym.spaces.Box(-1, 1, (OBSERVATION_DIM,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACTION_DIM,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), float(self.np_random.random()), False, False, {}


def build(algorithm: type[sb3.SAC], width: int, batch_size: int, **more: object) -> sb3.SAC:
    agent = algorithm(
        "MlpPolicy",
        DummyVecEnv([Noise]),
        learning_starts=1000,
        gradient_steps=1,
        batch_size=batch_size,
        buffer_size=10_000,
        seed=0,
        device="cpu",
        policy_kwargs={"net_arch": [width, width]},
        **more,
    )
    agent.learn(1000, log_interval=None)
    agent.set_logger(sb3.common.logger.configure(format_strings=[]))
    return agent


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--updates", type=int, default=200, help="updates in one measurement")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()

    torch.set_num_threads(1)
    rows = []
    for width in args.widths:
        contestants = {
            "sb3": build(sb3.SAC, width, args.batch_size),
            "ours": build(agents.SAC, width, args.batch_size),
            "ours, finetune": build(agents.SAC, width, args.batch_size, method=make("finetune")),
        }
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for repeat in range(args.repeats + 1):  # the first is a warm-up
            for name, agent in contestants.items():
                taken = seconds(lambda a=agent: a.train(args.updates, args.batch_size))
                if repeat:
                    times[name].append(taken)
        for name, taken in times.items():
            ratios = [theirs / ours for theirs, ours in zip(times["sb3"], taken, strict=True)]
            rows.append(
                {
                    "net_arch": [width, width],
                    "agent": name,
                    "updates_per_second": args.updates / statistics.median(taken),
                    "ratio_to_sb3": statistics.median(ratios),
                    "ratio_min": min(ratios),
                    "ratio_max": max(ratios),
                }
            )

    print(f"SAC updates, batch {args.batch_size}, one thread, {args.repeats} interleaved repeats")
    print(f"{'net_arch':>12} {'agent':>16} {'updates/s':>10} {'x SB3':>7}  (min - max)")
    for row in rows:
        print(
            f"{row['net_arch']!s:>12} {row['agent']:>16} {row['updates_per_second']:10.0f} "
            f"{row['ratio_to_sb3']:7.2f}  ({row['ratio_min']:.2f} - {row['ratio_max']:.2f})"
        )
    if args.json:
        versions = {name: version(name) for name in ("torch", "stable-baselines3", "numpy")}
        report = {"rows": rows, "versions": versions, "machine": platform.processor()}
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
