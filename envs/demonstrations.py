"""Demonstrations: whole episodes of a task, driven by its expert.

Episode i is what row ``i % ROWS`` of ``lifelong_rl.envs.make_vec`` with the same seed meets in
round ``i // ROWS``, and its noise comes from a generator of its own. So an episode depends, to the
last bit, on nothing but task, expert, seed and noise: neither on threads nor on how many
episodes are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts import Expert, get_expert
from lifelong_rl.envs.pixels import PixelObserver, Pixels
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.task import Task
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import ContractError
from lifelong_rl.storage.demonstration_file import Demonstrations
from lifelong_rl.storage.versions import versions

ROWS = 100
"""Simulations that run side by side, at most."""


@dataclass(frozen=True)
class Episodes:
    """E episodes of one task, of T = `lifelong_rl.envs.task.Task.horizon` control steps each.

    Only a diverging simulation ends an episode earlier; what follows is then zero, except for the
    observations, which stay as they last were.

    Attributes:
        observations: from the start's to the last state's, (E, T + 1, observation_dim) float32.
        actions: the actions taken, noise included, (E, T, action_dim) float32, in [-1, 1].
        expert_actions: what the expert chose in the same states, as `actions`.
        rewards: (E, T) float64.
        reward_terms: the weighted terms in the order of the task's weights, (E, T, k) float64.
        success: whether the state after each step solves the task, (E, T) bool.
        lengths: control steps of each episode, (E,) int64.
    """

    observations: npt.NDArray[np.float32]
    actions: npt.NDArray[np.float32]
    expert_actions: npt.NDArray[np.float32]
    rewards: Array
    reward_terms: Array
    success: npt.NDArray[np.bool_]
    lengths: npt.NDArray[np.int64]


def collect(
    task: Task[Any, Any],
    expert: Expert,
    *,
    episodes: int,
    seed: int,
    noise: float = 0.0,
    num_threads: int = 1,
    factors: Mapping[str, float] | None = None,
) -> Episodes:
    """Run an expert for whole episodes.

    Args:
        task: what to run.
        expert: drives it.
        episodes: how many, at least 1.
        seed: of starts and noise, at least 0.
        noise: standard deviation of the Gaussian noise that is added to every entry of an action
            before it is clipped to [-1, 1]; at least 0.
        num_threads: threads that step the simulations; 0 takes every CPU.
        factors: how the task's model is changed, see `BatchEnv.change_model`.

    Raises:
        ValueError: if a number is out of its range.
    """
    if episodes < 1:
        raise ValueError(f"episodes is {episodes}; it must be at least 1")
    if not 0.0 <= noise < np.inf:
        raise ValueError(f"noise is {noise}; it must be a number of at least 0")
    env = _make_batch(task, min(episodes, ROWS), num_threads, factors)
    env.seed(seed)
    rounds = []
    for first in range(0, episodes, env.num_envs):
        ids = range(first, first + env.num_envs)
        disturbance = noise * np.stack([_standard_noise(task, seed, i) for i in ids], axis=1)
        rounds.append(_run_round(env, expert, disturbance))
    return Episodes(
        *(np.concatenate(parts)[:episodes] for parts in zip(*map(_arrays, rounds), strict=True))
    )


def film(
    task: Task[Any, Any],
    episodes: Episodes,
    seed: int,
    pixels: Pixels,
    factors: Mapping[str, float] | None = None,
) -> npt.NDArray[np.uint8]:
    """Return what cameras saw in episodes that `collect` has run, as these are run once more.

    Args:
        task: of the episodes.
        episodes: all that were collected.
        seed: that they were collected with.
        pixels: the cameras and the size; frames are not stacked.
        factors: that they were collected with.

    Returns:
        A frame of each state, (E, T + 1, 3 * cameras, size, size); where an episode ended early,
        its last one is repeated.

    Raises:
        RenderingError: if this machine cannot render.
    """
    count, horizon = episodes.actions.shape[:2]
    env = _make_batch(task, min(count, ROWS), 1, factors)
    env.seed(seed)
    alone = Pixels(pixels.cameras, pixels.size, proprioception=False)
    observer = PixelObserver(env, alone, np.zeros(0, np.float32))
    shape = count, horizon + 1, 3 * len(pixels.cameras), pixels.size, pixels.size
    frames = np.empty(shape, np.uint8)
    try:
        for first in range(0, count, env.num_envs):
            own = slice(first, first + env.num_envs)
            rows = np.arange(len(frames[own]))
            actions = np.zeros((env.num_envs, horizon, task.action_dim), np.float32)
            actions[rows] = episodes.actions[own]
            shown = observer.first(np.arange(env.num_envs), env.reset())
            frames[own, 0] = np.asarray(shown)[rows]
            for t in range(horizon):
                shown = observer.next(env.step(actions[:, t]))
                over = (t >= episodes.lengths[own])[:, None, None, None]
                frames[own, t + 1] = np.where(over, frames[own, t], np.asarray(shown)[rows])
    finally:
        observer.close()
    return frames


def describe(task: Task[Any, Any], *, seed: int, noise: float) -> dict[str, Any]:
    """Return, as JSON, what demonstrations of a task hold and what decides them.

    Args:
        task: what was run.
        seed: see `collect`.
        noise: see `collect`.
    """
    return {
        "task": task.name,
        "task_version": task.revision(),
        "layout": {name: [entry.start, entry.stop] for name, entry in task.layout.items()},
        "reward_terms": list(task.weights),
        "control_hz": task.control_hz,
        "seed": seed,
        "noise": noise,
    }


def demonstrate(
    task: str, *, episodes: int, seed: int, noise: float = 0.0, num_threads: int = 1
) -> Demonstrations:
    """Return demonstrations of a task by its expert, with what decides them and all versions.

    Args:
        task: the task's name.
        episodes: see `collect`.
        seed: see `collect`.
        noise: see `collect`.
        num_threads: see `collect`.

    Raises:
        UnknownNameError: if there is no such task.
        ValueError: if a number is out of its range, or the task has no expert.
    """
    found, expert = get_task(task), get_expert(task)
    recorded = collect(
        found, expert, episodes=episodes, seed=seed, noise=noise, num_threads=num_threads
    )
    metadata = {**describe(found, seed=seed, noise=noise), "versions": versions()}
    return Demonstrations(**vars(recorded), metadata=metadata)


def choose(expert: Expert, env: BatchEnv) -> npt.NDArray[np.float32]:
    """Return what an expert does in the current state of every row, (n, action_dim), in [-1, 1].

    Raises:
        ContractError: if it tells other than one finite action for each row.
    """
    chosen = np.asarray(expert(env.state()))
    shape = env.num_envs, env.task.action_dim
    if chosen.shape != shape or not np.isfinite(chosen).all():
        told = f"of shape {chosen.shape}" if chosen.shape != shape else "that are not finite"
        raise ContractError(
            f"the expert of task '{env.task.name}'", f"returns actions {told}, not {shape}"
        )
    return np.clip(chosen, -1.0, 1.0).astype(np.float32)


def _make_batch(
    task: Task[Any, Any], num_envs: int, num_threads: int, factors: Mapping[str, float] | None
) -> BatchEnv:
    """Return simulations of a task, with its model changed."""
    env = BatchEnv(task, num_envs, num_threads)
    if factors:
        env.change_model(factors)
    return env


def _arrays(episodes: Episodes) -> Iterator[npt.NDArray[Any]]:
    """Yield the arrays in the order of the fields."""
    yield from vars(episodes).values()


def _standard_noise(task: Task[Any, Any], seed: int, episode: int) -> Array:
    """Return the noise of one episode, of standard deviation 1, (T, action_dim)."""
    # starts have keys of length one, so the two never share a generator
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(episode, 1)))
    return rng.standard_normal((task.horizon, task.action_dim))


def _run_round(env: BatchEnv, expert: Expert, disturbance: Array) -> Episodes:
    """Run one episode in every row.

    Args:
        env: the rows.
        expert: drives them.
        disturbance: what is added to the actions, (T, num_envs, action_dim).
    """
    task, rows = env.task, env.num_envs
    shape = rows, task.horizon
    out = Episodes(
        observations=np.empty((rows, task.horizon + 1, task.observation_dim), np.float32),
        actions=np.zeros((*shape, task.action_dim), np.float32),
        expert_actions=np.zeros((*shape, task.action_dim), np.float32),
        rewards=np.zeros(shape),
        reward_terms=np.zeros((*shape, len(task.weights))),
        success=np.zeros(shape, bool),
        lengths=np.zeros(rows, np.int64),
    )
    out.observations[:, 0] = env.reset()
    running = np.ones(rows, bool)
    for t in range(task.horizon):
        chosen = choose(expert, env)
        # the action taken is the one that is kept, rounding included
        taken = np.clip(chosen + disturbance[t], -1.0, 1.0).astype(np.float32)
        step = env.step(taken)
        out.actions[running, t] = taken[running]
        out.expert_actions[running, t] = chosen[running]
        out.rewards[running, t] = step.reward[running]
        out.reward_terms[running, t] = step.terms[running]
        out.success[running, t] = step.success[running]
        out.lengths[running] += 1
        out.observations[:, t + 1] = np.where(
            running[:, None], step.observation, out.observations[:, t]
        )
        running &= ~step.truncated
    return out
