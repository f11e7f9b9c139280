"""Camera frames of the suite's own tasks, labelled with where the task's object is.

A stream in the format of `lifelong_rl.envs.labelled`. Each of its tasks shows one skill of the arm
through the front camera while its expert is at work, and asks in which of `NUM_BINS` slices of the
table, from the robot's right to its left, the object lies: the puck, the button, the hand itself
where the skill is to reach. The slices hold equally many training frames, so that a guess is right
one time in `NUM_BINS`.

An episode gives `PER_EPISODE` frames, evenly spaced in time, and belongs either to training or to
testing as a whole. Frames are rendered at 64×64 pixels and averaged over 4×4 of them; an
observation holds the colours of the 16×16 pixels, row by row, less their mean over the task's
training frames and divided by the standard deviation of all that is left.

Frames are rendered once and then taken from the store. Their last bits depend on the machine's
OpenGL, labels and everything else do not.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.datasets import Store, made_with
from lifelong_rl.envs.demonstrations import choose
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.labelled import Dataset, LabelledSequence, Samples
from lifelong_rl.envs.rendering import Renderer
from lifelong_rl.envs.sequences import ARM5
from lifelong_rl.envs.tasks import get_task
from lifelong_rl.registry import SEQUENCES

NUM_BINS = 5
TRAIN_EPISODES, TEST_EPISODES = 320, 80
PER_EPISODE = 5
ROWS = 80
"""Simulations that run side by side; they divide the episodes of each kind."""
SEED = 20_003
NOISE = 0.2
"""Standard deviation of what is added to the expert's actions."""
RENDERED, POOLED = 64, 16
"""Pixels along an edge, as rendered and as kept."""


@dataclass(frozen=True)
class FramesTask:
    """Where is the object of a task?

    Attributes:
        task: the task's name.
    """

    task: str

    @property
    def name(self) -> str:
        """The problem's name."""
        return f"{self.task}-frames"

    @property
    def version(self) -> str:
        """That of the task."""
        return get_task(self.task).revision()

    def dataset(self, store: Store) -> Dataset:
        """Return frames and slices, in random order.

        Args:
            store: has or renders the frames.

        Raises:
            RenderingError: if they have to be rendered and no OpenGL context can be made.
        """
        description = {
            "kind": "labelled frames",
            "task": self.task,
            "task_version": self.version,
            "camera": "front",
            "episodes": TRAIN_EPISODES + TEST_EPISODES,
            "seed": SEED,
            "noise": NOISE,
            "made_with": made_with(),
        }
        found = store(description, lambda: film(self.task, TRAIN_EPISODES + TEST_EPISODES))
        return label(found["frames"], found["objects"][:, 1], found["episodes"])


@cache
def film(name: str, episodes: int) -> dict[str, npt.NDArray[Any]]:
    """Film the expert of a task.

    Args:
        name: the task's name.
        episodes: how many, a multiple of `ROWS`.

    Returns:
        ``frames`` (n, 16, 16, 3) uint8, and of each frame the position of the task's object,
        ``objects`` (n, 3), m, and the number of its episode, ``episodes`` (n,).

    Raises:
        RenderingError: if no OpenGL context can be made.
    """
    task, expert = get_task(name), get_expert(name)
    env = BatchEnv(task, ROWS)
    env.seed(SEED)
    rng = np.random.default_rng(SEED)
    times = set(np.arange(PER_EPISODE) * task.horizon // PER_EPISODE)
    frames, objects, numbers = [], [], []
    with closing(Renderer(env, width=RENDERED, height=RENDERED)) as renderer:
        for first in range(0, episodes, ROWS):
            env.reset()
            for t in range(task.horizon):
                if t in times:
                    frames += [pool(renderer.render(row)) for row in range(ROWS)]
                    objects.append(env.state().object)
                    numbers.append(np.arange(first, first + ROWS))
                noise = NOISE * rng.standard_normal((ROWS, task.action_dim))
                env.step(choose(expert, env) + noise)
    return {
        "frames": np.stack(frames),
        "objects": np.concatenate(objects),
        "episodes": np.concatenate(numbers),
    }


def pool(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the mean colours of squares of a picture, rounded, (16, 16, 3)."""
    edge = RENDERED // POOLED
    means = picture.reshape(POOLED, edge, POOLED, edge, 3).mean(axis=(1, 3))
    pooled: npt.NDArray[np.uint8] = means.round().astype(np.uint8)
    return pooled


def label(
    frames: npt.NDArray[np.uint8],
    positions: npt.NDArray[np.float64],
    episodes: npt.NDArray[np.int64],
) -> Dataset:
    """Divide frames into those to learn from and those to test with, and positions into slices.

    Args:
        frames: (n, height, width, 3).
        positions: of the object, along the axis that is divided, (n,).
        episodes: of each frame, (n,); those from `TRAIN_EPISODES` on are for testing.
    """
    train = episodes < TRAIN_EPISODES
    features = frames.reshape(len(frames), -1).astype(np.float64)
    features -= features[train].mean(axis=0)
    features /= features[train].std()
    edges = np.quantile(positions[train], np.arange(1, NUM_BINS) / NUM_BINS)
    samples = Samples(features.astype(np.float32), np.searchsorted(edges, positions, side="right"))
    order = np.random.default_rng(SEED).permutation(len(frames))
    return Dataset(samples.of(order[train[order]]), samples.of(order[~train[order]]))


FRAMES = SEQUENCES.register("frames")(
    LabelledSequence(
        "frames",
        tuple(FramesTask(task) for task in ARM5.tasks),
        num_classes=NUM_BINS,
        description="camera frames of the five skills of arm5: in which slice of the table is the "
        "object?",
        steps_per_task=2_000,
    )
)
