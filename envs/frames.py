"""Frames of a task: what its cameras see while somebody acts, with labels of the state.

Three policies act. ``expert`` is the task's own; ``random`` holds a uniformly drawn action for
`HOLD` steps at a time, so that the robot gets about; ``noisy`` is the expert, disturbed by
Gaussian noise that is held as long. Frames depend, to the last bit, on nothing but task, policy,
count, cameras, size and seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts import EXPERTS, get_expert
from lifelong_rl.envs.pixels import PixelObserver, Pixels
from lifelong_rl.envs.robot import Array
from lifelong_rl.envs.task import Task
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import lookup

POLICIES = ("expert", "random", "noisy")
"""Who can act."""
HOLD = 5
"""Control steps for which a random action or disturbance is held."""
NOISE = 0.7
"""Standard deviation of the noisy expert's disturbance; actions lie in [-1, 1]."""
ROWS = 16
"""Simulations that run side by side, at most."""


@dataclass(frozen=True)
class TaskFrames:
    """Frames of one task under one policy, whole episodes one after another.

    The last episode is cut off where there are frames enough.

    Attributes:
        images: (n, cameras, 3, size, size) uint8.
        episodes: number of each frame's episode, from 0, (n,) int64.
        steps: control steps since its start, (n,) int64.
        labels: see `lifelong_rl.envs.robot.Robot.labels`, (n, k) float32 by name; and "action",
            what the task's expert would do in the state shown, whoever acts (NaN if the task has
            none).
    """

    images: npt.NDArray[np.uint8]
    episodes: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    labels: dict[str, npt.NDArray[np.float32]]


def collect_frames(
    task: Task[Any, Any],
    policy: str,
    *,
    count: int,
    cameras: Sequence[str],
    size: int,
    seed: int,
    num_threads: int = 1,
) -> TaskFrames:
    """Let a policy act, and take a picture of every state from an episode's start to its end.

    Args:
        task: what to run.
        policy: one of `POLICIES`.
        count: how many frames, at least 1.
        cameras: names of the task's `cameras`.
        size: width and height of the frames, in pixels.
        seed: of starts and actions, at least 0.
        num_threads: threads that step the simulations; 0 takes every CPU.

    Raises:
        UnknownNameError: if the policy or a camera does not exist.
        ValueError: if a number is out of its range, or the task has no expert.
        RenderingError: if this machine cannot render.
    """
    lookup("policy", policy, dict.fromkeys(POLICIES), see="")
    if policy != "random":
        get_expert(task.name)
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    episodes = math.ceil(count / (task.horizon + 1))
    rounds = math.ceil(episodes / ROWS)
    rows = math.ceil(episodes / rounds)
    env = BatchEnv(task, rows, num_threads)
    env.seed(seed)
    observer = PixelObserver(
        env, Pixels(tuple(cameras), size, proprioception=False), np.zeros(0, np.float32)
    )
    # starts have keys of length one, so the two never share a generator
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, 1)))
    parts: list[TaskFrames] = []
    try:
        while (missing := count - sum(len(part.steps) for part in parts)) > 0:
            first = rows * len(parts)
            parts.append(_run_round(env, observer, policy, rng, first, missing))
    finally:
        observer.close()
    return TaskFrames(
        images=np.concatenate([part.images for part in parts]),
        episodes=np.concatenate([part.episodes for part in parts]),
        steps=np.concatenate([part.steps for part in parts]),
        labels={
            name: np.concatenate([part.labels[name] for part in parts]) for name in parts[0].labels
        },
    )


def collect_parts(
    tasks: Sequence[str],
    policies: Sequence[str],
    *,
    count: int,
    cameras: Sequence[str],
    size: int,
    seed: int,
    num_threads: int = 1,
) -> Iterator[TaskFrames]:
    """Yield the frames of every policy in every task, evenly shared out, policies innermost.

    Args:
        tasks: names of tasks.
        policies: some of `POLICIES`.
        count: how many frames, all together; at least one for each task and policy.
        cameras: see `collect_frames`.
        size: see `collect_frames`.
        seed: each task and policy has starts and actions of its own.
        num_threads: see `collect_frames`.

    Raises:
        UnknownNameError: if a task, a policy or a camera does not exist.
        ValueError: if a number is out of its range, or a task has no expert.
        RenderingError: if this machine cannot render.
    """
    cells = [(task, policy) for task in tasks for policy in policies]
    share, more = divmod(count, len(cells))
    for k, (task, policy) in enumerate(cells):
        yield collect_frames(
            get_task(task),
            policy,
            count=share + (k < more),
            cameras=cameras,
            size=size,
            seed=int(np.random.SeedSequence([seed, k]).generate_state(1)[0]),
            num_threads=num_threads,
        )


def _run_round(
    env: BatchEnv,
    observer: PixelObserver,
    policy: str,
    rng: np.random.Generator,
    first: int,
    most: int,
) -> TaskFrames:
    """Run one episode in every row.

    Args:
        env: the rows.
        observer: takes their pictures, a single frame each.
        policy: who acts.
        rng: draws actions and disturbances.
        first: number of the first row's episode.
        most: how many frames to return, from the first episode on.
    """
    horizon, rows = env.task.horizon, env.num_envs
    advised = policy != "random"
    plan = _plan(policy, rng, env)
    images = [observer.first(np.arange(rows), env.reset())]
    labels = [_labels(env)]
    lengths = np.full(rows, horizon + 1)
    for t in range(horizon):
        step = env.step(plan[t] + (labels[-1]["action"] if advised else 0.0))
        images.append(observer.next(step))
        labels.append(_labels(env))
        # of a diverged row, the states before
        lengths[step.diverged] = np.minimum(lengths[step.diverged], t + 1)
    taken = np.arange(horizon + 1) < lengths[:, None]
    episodes, steps = (ids[:most] for ids in np.nonzero(taken))

    def pick(moments: list[Any]) -> Any:
        return np.stack(moments)[steps, episodes]

    shown = pick(images)
    return TaskFrames(
        images=shown.reshape(len(steps), -1, 3, *shown.shape[2:]),
        episodes=first + episodes,
        steps=steps,
        labels={
            name: pick([moment[name] for moment in labels]).astype(np.float32) for name in labels[0]
        },
    )


def _labels(env: BatchEnv) -> dict[str, Array]:
    """Return what is known of the rows' states, and what the expert would do in them."""
    if env.task.name in EXPERTS:
        action = np.clip(get_expert(env.task.name)(env.state()), -1.0, 1.0)
    else:
        action = np.full((env.num_envs, env.task.action_dim), np.nan)
    return {**env.robot.labels(), "action": action}


def _plan(policy: str, rng: np.random.Generator, env: BatchEnv) -> Array:
    """Return what is added to the expert's actions, or in their place, (T, rows, action_dim)."""
    shape = math.ceil(env.task.horizon / HOLD), env.num_envs, env.task.action_dim
    if policy == "random":
        drawn = rng.uniform(-1.0, 1.0, shape)
    else:
        drawn = (NOISE if policy == "noisy" else 0.0) * rng.standard_normal(shape)
    return np.repeat(drawn, HOLD, axis=0)
