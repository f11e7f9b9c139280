"""Demonstrations of Meta-World's scripted policies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.demonstrations import ROWS, Episodes
from lifelong_rl.envs.gym_row import GymRow
from lifelong_rl.envs.metaworld.env import ACTION_DIM
from lifelong_rl.envs.metaworld.task import MetaWorldTask, make_row


def collect(
    task: MetaWorldTask,
    *,
    episodes: int,
    seed: int,
    noise: float = 0.0,
    factors: Mapping[str, float] | None = None,
) -> Episodes:
    """Run the scripted policy of a task for whole episodes.

    Episode i is what row ``i % ROWS`` of the task's environments with the same seed meets in round
    ``i // ROWS``, as in `lifelong_rl.envs.demonstrations`. One environment plays all rows in turn,
    as its episodes depend on nothing but the seed of a row and the episodes before.

    Args:
        task: what to run.
        episodes: how many, at least 1.
        seed: of starts and noise, at least 0.
        noise: standard deviation of the Gaussian noise that is added to every entry of an action
            before it is clipped to [-1, 1]; at least 0.
        factors: how the model is changed, see `lifelong_rl.envs.model_changes`.

    Raises:
        UserError: Meta-World has no such task, or is not installed as it has to be.
        ValueError: a number is out of its range.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; it must be at least 1")
    if not 0.0 <= noise < np.inf:
        raise ValueError(f"noise is {noise}; it must be a number of at least 0")
    env = make_row(task)
    if factors:
        env.change_model(factors)
    shape = episodes, task.horizon
    out = Episodes(
        observations=np.empty((episodes, task.horizon + 1, task.dims()[0]), np.float32),
        actions=np.zeros((*shape, ACTION_DIM), np.float32),
        expert_actions=np.zeros((*shape, ACTION_DIM), np.float32),
        rewards=np.zeros(shape),
        reward_terms=np.zeros((*shape, 0)),
        success=np.zeros(shape, bool),
        lengths=np.zeros(episodes, np.int64),
    )
    for row in range(min(episodes, ROWS)):
        for i in range(row, episodes, ROWS):
            first, _ = env.reset(seed=seed + row if i == row else None)
            out.observations[i] = first
            _run(env, i, out, noise * _standard_noise(task, seed, i))
    env.close()
    return out


def _run(env: GymRow, i: int, out: Episodes, disturbance: npt.NDArray[np.float64]) -> None:
    """Run episode i and write it down.

    Args:
        env: has been reset.
        i: its position.
        out: where it is written.
        disturbance: what is added to the actions, (horizon, ACTION_DIM).
    """
    choose = env.get_wrapper_attr("expert_action")
    truncated = False
    while not truncated:
        t = int(out.lengths[i])
        chosen = choose()
        # the action taken is the one that is kept, rounding included
        taken = np.clip(chosen + disturbance[t], -1.0, 1.0).astype(np.float32)
        observation, reward, _, truncated, info = env.step(taken)
        out.actions[i, t], out.expert_actions[i, t] = taken, chosen
        out.rewards[i, t], out.success[i, t] = reward, bool(info["success"])
        out.observations[i, t + 1 :] = observation
        out.lengths[i] += 1


def _standard_noise(task: MetaWorldTask, seed: int, episode: int) -> npt.NDArray[np.float64]:
    """Return the noise of one episode, of standard deviation 1, (horizon, ACTION_DIM)."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(episode, 1)))
    return rng.standard_normal((task.horizon, ACTION_DIM))
