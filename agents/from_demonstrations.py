"""What learners share that are given demonstrations of each task."""

from __future__ import annotations

from typing import Any

import numpy as np

from lifelong_rl.errors import UserError
from lifelong_rl.learning.seeding import derive_seed


def refuse_without(attribute: str, env: Any, learner: Any, needed: str) -> None:
    """Raise UserError unless environments have what a learner asks of them.

    Args:
        attribute: Their method.
        env: The environments.
        learner: Asks.
        needed: What the method gives.
    """
    if not hasattr(env, attribute):
        raise UserError(
            f"{type(learner).__name__} learns from {needed}, such as those of the sequence 'arm3', "
            "and these tasks have none: labelled data is for the agent 'classifier'"
        )


def demonstrate(
    env: Any, task_id: int, *, episodes: int, seed: int, noise: float
) -> dict[str, np.ndarray]:
    """Demonstrations of a task, which start as the episodes do that a run's SAC learns from.

    Args:
        env: Environments of the task.
        task_id: Its position in the sequence.
        episodes: How many.
        seed: That of the run.
        noise: Standard deviation of what is added to the expert's actions.

    Returns:
        What `lifelong_rl.envs.vec_env.BatchVecEnv.demonstrations` does.
    """
    shown: dict[str, np.ndarray] = env.demonstrations(
        episodes, seed=derive_seed(seed, 1 + task_id), noise=noise
    )
    return shown
