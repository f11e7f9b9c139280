"""Measure our agents' updates against Stable-Baselines3's, in turns within one run.

Same batch size and replay buffer contents, one torch thread, CPU time of the calling thread. The
ratio is taken turn by turn, so that it holds when the machine's speed drifts; quoted is the median.
Stable-Baselines3's agents are plain: one task, no LayerNorm. Ours are measured so too, and with the
heads of ten tasks and the LayerNorm that benchmark runs have. Behaviour cloning has no counterpart:
its ratio is to Stable-Baselines3's SAC.

    python scripts/bench_agents.py --json docs/results/bench_agents.json
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
from typing import Any

import gymnasium as gym
import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from lifelong_rl import agents
from lifelong_rl.continual import make

INPUTS, TASKS = 33, 10  # about an arm task's observation, and the one-hot of ten tasks at its end
ACTION_DIM = 4
STEPS = 1000


class Noise(gym.Env[np.ndarray, np.ndarray]):
    """Random observations of the first task, and rewards: only the update is measured.

    Args:
        num_tasks: Length of the one-hot at the end; 1 for none.
    """

    action_space = gym.spaces.Box(-1, 1, (ACTION_DIM,), np.float32)

    def __init__(self, num_tasks: int) -> None:
        one_hot = num_tasks if num_tasks > 1 else 0
        self.one_hot = np.eye(1, one_hot, dtype=np.float32)[0]
        self.observation_space = gym.spaces.Box(-1, 1, (INPUTS + one_hot,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observe(), {}

    def step(self, action):
        return self.observe(), float(self.np_random.random()), False, False, {}

    def observe(self):
        noise = self.np_random.uniform(-1, 1, INPUTS).astype(np.float32)
        return np.concatenate([noise, self.one_hot])

    def demonstrations(self, episodes: int, seed: int, noise: float) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        observations = np.stack([self.observe() for _ in range(STEPS)])
        return {
            "observations": observations,
            "expert_actions": rng.uniform(-1, 1, (STEPS, ACTION_DIM)),
        }


class Noises(DummyVecEnv):
    """One of them, with demonstrations."""

    def __init__(self, num_tasks: int) -> None:
        super().__init__([lambda: Noise(num_tasks)])

    def expert_actions(self) -> np.ndarray:
        return np.zeros((1, ACTION_DIM), np.float32)

    def demonstrations(self, episodes: int, seed: int, noise: float) -> dict[str, np.ndarray]:
        return self.envs[0].demonstrations(episodes, seed, noise)  # type: ignore[attr-defined]


Work = Callable[[int], object]
"""Does the number of updates that it is given."""


def off_policy(algorithm: type, width: int, batch_size: int, tasks: int = 1, **more: Any) -> Work:
    """Updates of an off-policy algorithm on a buffer of noise."""
    policy = {"net_arch": [width, width], **more.pop("policy_kwargs", {})}
    agent = algorithm(
        "MlpPolicy",
        Noises(tasks),
        learning_starts=STEPS,
        gradient_steps=1,
        batch_size=batch_size,
        buffer_size=10_000,
        seed=0,
        device="cpu",
        policy_kwargs=policy,
        **more,
    )
    agent.learn(STEPS, log_interval=None)
    agent.set_logger(Logger(folder=None, output_formats=[]))
    return lambda updates: agent.train(updates, batch_size)


def on_policy(algorithm: type, width: int, batch_size: int, tasks: int = 1, **more: Any) -> Work:
    """Updates of an on-policy algorithm on a rollout of noise."""
    policy = {
        "net_arch": {"pi": [width, width], "vf": [width, width]},
        **more.pop("policy_kwargs", {}),
    }
    agent = algorithm(
        "MlpPolicy",
        Noises(tasks),
        n_steps=4 * batch_size,
        batch_size=batch_size,
        n_epochs=1,
        seed=0,
        device="cpu",
        policy_kwargs=policy,
        **more,
    )
    agent.set_logger(Logger(folder=None, output_formats=[]))
    agent.learn(4 * batch_size, log_interval=None)

    if isinstance(agent, agents.PPO):
        return agent.rehearse

    def work(updates: int) -> None:
        agent.n_epochs = updates // 4
        agent.train()

    return work


def cloning(width: int, batch_size: int, tasks: int) -> Work:
    """Updates of behaviour cloning on demonstrations of noise."""
    env = Noises(tasks)
    agent = agents.BC.build(
        env, num_tasks=tasks, method=None, seed=0, hidden=(width, width), batch_size=batch_size
    )
    agent.begin_task(0, env)
    return agent.rehearse


def contestants(width: int, batch_size: int) -> dict[str, dict[str, Work]]:
    """By Stable-Baselines3's agent, what is measured beside it; it comes first."""
    shape = (width, batch_size)
    runs: dict[str, Any] = {
        "tasks": TASKS,
        "num_tasks": TASKS,
        "policy_kwargs": {"layer_norm": True},
    }
    ten = f"{TASKS} heads, LayerNorm"
    return {
        "SAC": {
            "Stable-Baselines3": off_policy(sb3.SAC, *shape),
            "ours, 1 head": off_policy(agents.SAC, *shape),
            f"ours, {ten}": off_policy(agents.SAC, *shape, **runs),
            f"ours, {ten}, finetune": off_policy(
                agents.SAC, *shape, **runs, method=make("finetune")
            ),
            f"BC, {ten}": cloning(*shape, TASKS),
        },
        "TD3": {
            "Stable-Baselines3": off_policy(sb3.TD3, *shape),
            "ours, 1 head": off_policy(agents.TD3, *shape),
            f"ours, {ten}": off_policy(agents.TD3, *shape, **runs),
        },
        "PPO": {
            "Stable-Baselines3": on_policy(sb3.PPO, *shape),
            "ours, 1 head": on_policy(agents.PPO, *shape),
            f"ours, {ten}": on_policy(agents.PPO, *shape, **runs),
        },
    }


def seconds(work: Work, updates: int) -> float:
    """CPU time."""
    start = time.thread_time()
    work(updates)
    return time.thread_time() - start


def main() -> None:
    """Measure, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--updates", type=int, default=80, help="updates in a turn, in fours")
    parser.add_argument("--repeats", type=int, default=11, help="turns")
    parser.add_argument("--agents", nargs="+", default=["SAC", "TD3", "PPO"])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    print(f"updates, batch {args.batch_size}, one thread, CPU time, {args.repeats} turns")
    print(f"{'layers':>10} {'agent':<6}{'':<34}{'updates/s':>10} {'x SB3':>7}  (min - max)")
    for width in args.widths:
        for kind, works in contestants(width, args.batch_size).items():
            if kind not in args.agents:
                continue
            times: dict[str, list[float]] = {name: [] for name in works}
            for repeat in range(args.repeats + 1):  # the first is a warm-up
                for name, work in works.items():
                    taken = seconds(work, args.updates)
                    if repeat:
                        times[name].append(taken)
            for name, taken_by_it in times.items():
                theirs = times["Stable-Baselines3"]
                ratios = [a / b for a, b in zip(theirs, taken_by_it, strict=True)]
                row = {
                    "net_arch": [width, width],
                    "agent": kind,
                    "of": name,
                    "updates_per_second": args.updates / statistics.median(taken_by_it),
                    "ratio_to_sb3": statistics.median(ratios),
                    "ratio_min": min(ratios),
                    "ratio_max": max(ratios),
                }
                rows.append(row)
                print(
                    f"{row['net_arch']!s:>10} {kind:<6}{name:<34}"
                    f"{row['updates_per_second']:10.0f} {row['ratio_to_sb3']:7.2f}  "
                    f"({row['ratio_min']:.2f} - {row['ratio_max']:.2f})",
                    flush=True,
                )
    if args.json:
        versions = {name: version(name) for name in ("torch", "stable-baselines3", "numpy")}
        report = {
            "command": "python scripts/bench_agents.py",
            "batch_size": args.batch_size,
            "turns": args.repeats,
            "rows": rows,
            "versions": versions,
            "machine": platform.processor(),
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
