"""Filming episodes of a task: pictures of every state, with captions, from some of its cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.pixels import Observer, StateObserver
from lifelong_rl.envs.rendering import Renderer
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.errors import UserError
from lifelong_rl.storage.clip import Picture, caption
from lifelong_rl.text import one_line

HALF = 0.5
"""A score that counts as solved, where a task has no success."""


class Rollout(NamedTuple):
    """Who acts where.

    Attributes:
        env: one environment, not yet reset.
        observer: what shows it to the policy.
        policy: maps what the observer shows to an action, (1, action_dim).
    """

    env: BatchEnv
    observer: Observer
    policy: Callable[[Any], np.ndarray]


@dataclass(frozen=True)
class FilmedEpisode:
    """One episode.

    Attributes:
        pictures: from the start's to the last state's.
        solved_at: number of the first picture, from 0, of a state that solved the task; None if
            none did.
    """

    pictures: list[Picture]
    solved_at: int | None


def expert_rollout(task: str, seed: int) -> Rollout:
    """Return an environment in which the expert of a task acts.

    Args:
        task: the task's name.
        seed: decides the episodes.

    Raises:
        UnknownNameError: if there is no such task.
        ValueError: if it has no expert.
    """
    env, expert = BatchEnv(get_task(task), 1), get_expert(task)
    env.seed(seed)
    return Rollout(env, StateObserver(env, np.zeros(0, np.float32)), lambda _: expert(env.state()))


class VecRollout(NamedTuple):
    """Who acts where, in an environment that takes its pictures itself.

    Attributes:
        env: one environment as a Stable-Baselines3 ``VecEnv`` that renders pictures; not yet reset.
        policy: maps observations (1, ...) to actions (1, action_dim).
    """

    env: Any
    policy: Callable[[Any], np.ndarray]


class Cameras:
    """Pictures of one environment from some of its cameras, side by side.

    Args:
        env: the environment, in row 0 of a batch.
        names: of the cameras.
        width: of each camera's picture, in pixels.
        height: of the picture, in pixels.
        high_quality: whether to render shadows and smooth shapes.

    Raises:
        RenderingError: if this machine cannot render.
    """

    def __init__(
        self, env: BatchEnv, names: Sequence[str], width: int, height: int, *, high_quality: bool
    ) -> None:
        self._renderers: list[Renderer] = []
        try:
            for name in names:
                self._renderers.append(
                    Renderer(
                        env, camera=name, width=width, height=height, high_quality=high_quality
                    )
                )
        except Exception:
            self.close()
            raise

    def render(self) -> Picture:
        """Return a picture, (height, cameras * width, 3)."""
        return np.concatenate([renderer.render() for renderer in self._renderers], axis=1)

    def close(self) -> None:
        """Free the OpenGL contexts."""
        for renderer in self._renderers:
            renderer.close()


def film_episodes(
    name: str, rollout: Rollout, cameras: Cameras, episodes: int, *, captions: bool = True
) -> list[FilmedEpisode]:
    """Run episodes one after another, take pictures of every state, and close what was used.

    Args:
        name: what to call the task in captions.
        rollout: who acts where.
        cameras: take the pictures.
        episodes: how many.
        captions: whether to write name, step and success below each picture.
    """
    with closing(cameras), closing(rollout.observer):
        return [_film_episode(name, rollout, cameras, captions) for _ in range(episodes)]


def film_vec_env(
    name: str, rollout: VecRollout, episodes: int, *, captions: bool = True
) -> list[FilmedEpisode]:
    """Run episodes one after another, take pictures of every state but the last, and close.

    The last state of an episode is gone when its end is known, and so is when it was solved: its
    last picture stands for that. An episode without success is solved if its score is at least
    half.

    Args:
        name: what to call the task in captions and errors.
        rollout: who acts where.
        episodes: how many.
        captions: whether to write name, step and return below each picture.

    Raises:
        UserError: the environment renders no pictures.
    """
    with closing(rollout.env):
        observation = rollout.env.reset()
        filmed = []
        for _ in range(episodes):
            pictures: list[Picture] = []
            over, total = False, 0.0
            while not over:
                picture = _take_picture(name, rollout.env)
                if not isinstance(picture, np.ndarray) or picture.ndim != 3:
                    raise UserError(f"the task '{name}' renders no pictures")
                even = picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2]
                text = f"{name}   step {len(pictures)}   return {total:.1f}"
                pictures.append(caption(even, text) if captions else even)
                observation, rewards, dones, infos = rollout.env.step(rollout.policy(observation))
                total, over = total + float(rewards[0]), bool(dones[0])
            episode = infos[0]["episode"]
            solved = episode.get("success", episode.get("score", 0.0) >= HALF)
            filmed.append(FilmedEpisode(pictures, len(pictures) - 1 if solved else None))
    return filmed


def _take_picture(name: str, env: Any) -> Any:
    try:
        return env.get_images()[0]
    except Exception as error:  # anyone's
        raise UserError(f"the task '{name}' cannot be rendered: {one_line(str(error))}") from error


def _film_episode(name: str, rollout: Rollout, cameras: Cameras, captions: bool) -> FilmedEpisode:
    env, horizon = rollout.env, rollout.env.task.horizon
    pictures: list[Picture] = []
    solved_at, over = None, False

    def take_picture() -> None:
        text = f"{name}   step {env.elapsed[0]}/{horizon}" + "   solved" * (solved_at is not None)
        picture = cameras.render()
        pictures.append(caption(picture, text) if captions else picture)

    observation = rollout.observer.first(np.arange(1), env.reset())
    take_picture()
    while not over:
        step = env.step(rollout.policy(observation))
        observation = rollout.observer.next(step)
        if solved_at is None and step.success[0]:
            solved_at = len(pictures)
        over = bool(step.truncated[0])
        take_picture()
    return FilmedEpisode(pictures, solved_at)
