"""Demonstrations of Meta-World's scripted policies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.demonstrations import ROWS, Episodes
from lifelong_rl.envs.gym_row import GymRow


def collect(env: GymRow, horizon: int, *, episodes: int, seed: int, noise: float = 0.0) -> Episodes:
    """Run the scripted policy of a task for whole episodes.

    Episode i is what row ``i % ROWS`` of the task's environments with the same seed meets in round
    ``i // ROWS``, as in `lifelong_rl.envs.demonstrations`. One environment plays all rows in turn,
    as its episodes depend on nothing but the seed of a row and the episodes before.

    Args:
        env: one environment of the task, without padding and one-hot.
        horizon: control steps of an episode.
        episodes: how many, at least 1.
        seed: of starts and noise, at least 0.
        noise: standard deviation of the Gaussian noise that is added to every entry of an action
            before it is clipped to [-1, 1]; at least 0.

    Raises:
        ValueError: a number is out of its range.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; it must be at least 1")
    if not 0.0 <= noise < np.inf:
        raise ValueError(f"noise is {noise}; it must be a number of at least 0")
    observation_dim, action_dim = env.own_dims
    shape = episodes, horizon
    out = Episodes(
        observations=np.empty((episodes, horizon + 1, observation_dim), np.float32),
        actions=np.zeros((*shape, action_dim), np.float32),
        expert_actions=np.zeros((*shape, action_dim), np.float32),
        rewards=np.zeros(shape),
        reward_terms=np.zeros((*shape, 0)),
        success=np.zeros(shape, bool),
        lengths=np.zeros(episodes, np.int64),
    )
    for row in range(min(episodes, ROWS)):
        for i in range(row, episodes, ROWS):
            first, _ = env.reset(seed=seed + row if i == row else None)
            out.observations[i] = first
            _run(env, i, out, noise * _standard_noise(seed, i, (horizon, action_dim)))
    return out


def _run(env: GymRow, i: int, out: Episodes, disturbance: npt.NDArray[np.float64]) -> None:
    """Run episode i and write it down.

    Args:
        env: has been reset.
        i: its position.
        out: where it is written.
        disturbance: what is added to the actions, (horizon, action_dim).
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


def _standard_noise(seed: int, episode: int, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the noise of one episode, of standard deviation 1."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(episode, 1)))
    return rng.standard_normal(shape)
