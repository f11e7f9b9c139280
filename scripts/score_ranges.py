"""Measure what random actions return in the tasks that `lifelong_rl.envs.score_ranges` has.

    python scripts/score_ranges.py --json docs/results/score_ranges.json

Episode i of a task starts from ``reset(seed=i)``, and its actions are drawn uniformly between their
bounds by a generator of seed i. The mean return, rounded, is the low end of the task's range.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from lifelong_rl.envs.batch_env import log_to_no_file
from lifelong_rl.envs.score_ranges import SCORE_RANGES
from lifelong_rl.storage.versions import versions


def measure(name: str, episodes: int) -> dict[str, Any]:
    """Return mean, spread and length of some random episodes of a task."""
    env = gymnasium.make(name, disable_env_checker=True)
    returns, lengths = np.zeros(episodes), np.zeros(episodes)
    for episode in range(episodes):
        rng = np.random.default_rng(episode)
        env.reset(seed=episode)
        over = False
        while not over:
            action = rng.uniform(env.action_space.low, env.action_space.high)
            _, reward, terminated, truncated, _ = env.step(action.astype(np.float32))
            returns[episode] += reward
            lengths[episode] += 1
            over = terminated or truncated
    env.close()
    return {
        "mean": float(returns.mean()),
        "standard_error": float(returns.std(ddof=1) / np.sqrt(episodes)),
        "least": float(returns.min()),
        "most": float(returns.max()),
        "mean_length": float(lengths.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    log_to_no_file()
    found = {}
    for name, shipped in SCORE_RANGES.items():
        found[name] = measure(name, options.episodes)
        mean, error = found[name]["mean"], found[name]["standard_error"]
        print(f"{name:28} {mean:12.2f} ± {error:8.2f}   shipped: {shipped.low}", flush=True)
    if options.json is not None:
        content = {"episodes": options.episodes, "versions": versions(), "tasks": found}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
