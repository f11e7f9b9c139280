"""Set what runs learned of their first task against Stable-Baselines3's SAC, which learns it alone.

    python scripts/against_sb3.py RUN [RUN ...] [--seeds 0 1] [--json FILE]

The runs' first task is one of Gymnasium. Stable-Baselines3's SAC has its own defaults, and as many
environment steps as the runs' first phase. Both are judged by the mean return of as many episodes
as the runs evaluate.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

from lifelong_rl.text import format_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results = [json.loads((run / "results.json").read_text("utf-8")) for run in given.runs]
    first = {(r["tasks"][0], r["budget"]["steps_per_task"]) for r in results}
    if len(first) != 1:
        parser.error(f"the runs begin with different tasks or budgets: {sorted(first)}")
    (task, steps) = first.pop()
    episodes = results[0]["budget"]["eval_episodes"]
    alone = [learn_alone(task, steps, seed, episodes) for seed in given.seeds]
    mean = float(np.mean(alone))
    found: list[dict[str, Any]] = [
        {
            "agent": r["agent"],
            "method": r["method"],
            "seed": r["seed"],
            "return": r["return_matrix"][1][0],
            "before": r["return_matrix"][0][0],
            "ratio": r["return_matrix"][1][0] / mean,
        }
        for r in results
    ]
    rows = [
        [f["agent"], f["method"], str(f["seed"]), f"{f['return']:.1f}", f"{f['ratio']:.2f}"]
        for f in found
    ]
    rows += [
        ["SB3's sac", "alone", str(seed), f"{value:.1f}", ""]
        for seed, value in zip(given.seeds, alone, strict=True)
    ]
    print(f"{task}, {steps} steps")
    print(format_table(["agent", "method", "seed", "return", "ratio"], rows))
    if given.json:
        content = {"task": task, "steps": steps, "alone": alone, "runs": found}
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def learn_alone(task: str, steps: int, seed: int, episodes: int) -> float:
    """Mean return of Stable-Baselines3's SAC after learning a task."""
    agent = SAC("MlpPolicy", gymnasium.make(task), seed=seed, device="cpu")
    agent.learn(steps)
    env = Monitor(gymnasium.make(task))
    env.reset(seed=10_000)
    return float(np.mean(evaluate_policy(agent, env, episodes, return_episode_rewards=True)[0]))


if __name__ == "__main__":
    main()
