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

import envs
from envs.batch_env import BatchEnv

SEED = 5
STEPS = 25
FOLDER = Path(__file__).parent / "golden"


def write(name: str) -> None:
    """Drive the hand towards the object, then in its own direction, and write what happened."""
    env = BatchEnv(envs.get_task(name), 1)
    env.seed(SEED)
    observations, rewards, actions = [env.reset()[0]], [], []
    for t in range(STEPS):
        state = env.state()
        way = (state.object if t < 12 else state.goal)[0] - state.hand[0]
        action = np.clip(np.append(way / 0.05, -1.0), -1, 1).round(3)
        step = env.step(action[None])
        actions.append(action.tolist())
        observations.append(step.observation[0])
        rewards.append(float(step.reward[0]))
    record = {
        "task": name,
        "version": envs.TASKS[name].version,
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
