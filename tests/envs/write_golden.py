"""Write the golden trajectory of every task, or of those named.

Run it after a task was changed on purpose and its version raised::

    python tests/envs/write_golden.py drawer-open
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mujoco
import numpy as np

from lifelong_rl import envs
from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts import get_expert

SEED = 5
STEPS = 25
FOLDER = Path(__file__).parent / "golden"


def write(name: str) -> None:
    """Follow the expert with a little noise, so that things are moved, and write what happened."""
    task, expert = envs.get_task(name), get_expert(name)
    env = BatchEnv(task, 1)
    env.seed(SEED)
    rng = np.random.default_rng(SEED)
    observations, rewards, actions = [env.reset()[0]], [], []
    for _ in range(STEPS):
        action = expert(env.state())[0] + rng.normal(0.0, 0.1, task.action_dim)
        action = np.clip(action, -1, 1).round(3)
        step = env.step(action[None])
        actions.append(action.tolist())
        observations.append(step.observation[0])
        rewards.append(float(step.reward[0]))
    record = {
        "task": name,
        "version": task.version,
        "mujoco": mujoco.__version__,
        "seed": SEED,
        "actions": actions,
        "observations": np.array(observations, float).round(6).tolist(),
        "rewards": np.round(rewards, 6).tolist(),
    }
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    for task in sys.argv[1:] or envs.TASKS:
        write(task)
