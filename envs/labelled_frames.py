"""Camera frames of the suite's own tasks, labelled with what is going on in them.

Streams in the format of `lifelong_rl.envs.labelled`. Each of their tasks shows one skill of the arm
through the front camera while its expert is at work, and asks one thing of `ASKED`:

- ``place``: in which of `NUM_BINS` slices of the table, from the robot's right to its left, the
  object lies: the puck, the button, the hand itself where the skill is to reach. The slices hold
  equally many training frames, so that a guess is right one time in `NUM_BINS`.
- ``contact``: whether the hand or a finger touches anything.
- ``phase``: 0 while the object is where it was when the episode began, to `MOVED`; 1 when it has
  been moved; 2 when the task is solved.
- ``success``: whether the task is solved.
- ``position``: where the object is, as numbers; see `lifelong_rl.envs.position_frames`.

The classes of contact, phase and success are not equally frequent; docs/few_labels.md has their
shares.

An episode gives `PER_EPISODE` frames, evenly spaced in time, and belongs either to training or to
testing as a whole. Frames are rendered at 64×64 pixels and averaged over 4×4 of them; an
observation holds the colours of the 16×16 pixels, row by row, less their mean over the task's
training frames and divided by the standard deviation of all that is left.

Frames are rendered once and then taken from the store. Their last bits depend on the machine's
OpenGL, labels and everything else do not.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.batch_env import BatchEnv
from lifelong_rl.envs.datasets import Arrays, Store, made_with
from lifelong_rl.envs.demonstrations import choose
from lifelong_rl.envs.experts import get_expert
from lifelong_rl.envs.labelled import LabelledSequence
from lifelong_rl.envs.labelled_data import Dataset, Layout, Samples
from lifelong_rl.envs.looks import drift
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
MOVED = 0.01
"""How far an object is from where it was when it counts as moved, m."""
ASKED = {"place": NUM_BINS, "contact": 2, "phase": 3, "success": 2, "position": None}
"""What can be asked of a frame, and the number of its classes; None where it is told in numbers."""
TOUCHES_NOTHING = ("reach",)
"""Skills in which there is no contact to tell of; `frames-contact` leaves them out."""
SPAN = (-3.0, 3.0)
"""Darkest and brightest that an entry usually is."""


@dataclass(frozen=True)
class FramesTask:
    """What is going on in a task's frames?

    Attributes:
        task: the task's name.
        asks: one of `ASKED`.
        cameras: that are looked through.
    """

    task: str
    asks: str = "place"
    cameras: tuple[str, ...] = ("front",)

    @property
    def name(self) -> str:
        """The problem's name."""
        return f"{self.task}-frames"

    @property
    def version(self) -> str:
        """That of the task."""
        return get_task(self.task).revision()

    def dataset(self, store: Store) -> Dataset:
        """Return frames and labels, in random order.

        Args:
            store: has or renders the frames.

        Raises:
            RenderingError: if they have to be rendered and no OpenGL context can be made.
        """
        found = load_film(store, self.task, self.cameras)
        return make_dataset(found, self.asks, self.cameras)


def load_film(
    store: Store, task: str, cameras: tuple[str, ...], seed: int = SEED, share: float = 0.0
) -> Arrays:
    """Return what `film` returns, from a store.

    Args:
        store: has or films it.
        task: the task's name.
        cameras: that are looked through.
        seed: of the episodes.
        share: see `film`.
    """
    episodes = TRAIN_EPISODES + TEST_EPISODES
    description = {
        "kind": "labelled frames",
        "task": task,
        "task_version": get_task(task).revision(),
        "cameras": list(cameras),
        "episodes": episodes,
        "seed": seed,
        "noise": NOISE,
        "share": share,
        "made_with": made_with(),
    }
    return store(description, lambda: film(task, episodes, cameras, seed, share))


@cache
def film(
    name: str,
    episodes: int,
    cameras: tuple[str, ...] = ("front",),
    seed: int = SEED,
    share: float = 0.0,
) -> dict[str, npt.NDArray[Any]]:
    """Film the expert of a task.

    Args:
        name: the task's name.
        episodes: how many, a multiple of `ROWS`.
        cameras: that are looked through.
        seed: of the episodes.
        share: how far the scene looks like another domain, see `lifelong_rl.envs.looks.drift`.

    Returns:
        ``frames`` (n, 16, 16, 3) uint8, with the cameras before the height where there are several,
        and of each frame the position of the task's object, ``objects`` (n, 3), m; how far that has
        been moved since the episode began, ``moved`` (n,), m; whether the hand touches anything,
        ``contact`` (n,), and whether the task is solved, ``success`` (n,), both bool; the number of
        its episode, ``episodes`` (n,), and its control step, ``steps`` (n,).

    Raises:
        RenderingError: if no OpenGL context can be made.
    """
    task, expert = get_task(name), get_expert(name)
    env = BatchEnv(task, ROWS)
    env.seed(seed)
    rng = np.random.default_rng(seed)
    times = set(np.arange(PER_EPISODE) * task.horizon // PER_EPISODE)
    found: dict[str, list[npt.NDArray[Any]]] = {
        k: [] for k in ("frames", "objects", "moved", "contact", "success", "episodes", "steps")
    }
    look = drift(share) if share else None
    renderer = Renderer(env, width=RENDERED, height=RENDERED, look=look)
    with closing(renderer):
        for first in range(0, episodes, ROWS):
            env.reset()
            begun = env.state().object
            for t in range(task.horizon):
                if t in times:
                    state = env.state()
                    pictures = renderer.render_rows(range(ROWS), cameras)
                    pooled = np.stack([[pool(picture) for picture in row] for row in pictures])
                    found["frames"].append(pooled if len(cameras) > 1 else pooled[:, 0])
                    found["objects"].append(state.object)
                    found["moved"].append(np.linalg.norm(state.object - begun, axis=1))
                    found["contact"].append(find_contacts(env))
                    found["success"].append(task.success(state))
                    found["episodes"].append(np.arange(first, first + ROWS))
                    found["steps"].append(np.full(ROWS, t))
                noise = NOISE * rng.standard_normal((ROWS, task.action_dim))
                env.step(choose(expert, env) + noise)
    return {name: np.concatenate(values) for name, values in found.items()}


def find_contacts(env: BatchEnv) -> npt.NDArray[np.bool_]:
    """Return in which rows the hand or a finger touches something, (n,)."""
    model = env.batch.model
    data, hand = mujoco.MjData(model), model.geom_contype == 1  # see `lifelong_rl.envs.scenes`
    touches = np.zeros(env.num_envs, bool)
    for row in range(env.num_envs):
        env.batch.get_data(row, data)
        mujoco.mj_fwdPosition(model, data)
        geoms = data.contact.geom[data.contact.dist <= 0]
        touches[row] = bool(hand[geoms].any())
    return touches


def pool(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the mean colours of squares of a picture, rounded, (16, 16, 3)."""
    edge = RENDERED // POOLED
    means = picture.reshape(POOLED, edge, POOLED, edge, 3).mean(axis=(1, 3))
    pooled: npt.NDArray[np.uint8] = means.round().astype(np.uint8)
    return pooled


def make_dataset(
    found: Arrays, asks: str, cameras: tuple[str, ...], reference: Arrays | None = None
) -> Dataset:
    """Return what a film tells as a dataset.

    Args:
        found: see `film`.
        asks: one of `ASKED`.
        cameras: that were looked through.
        reference: the film whose means, deviation and slices are taken; by default its own.
    """
    positions = found["objects"][:, 1]
    data = label(found["frames"], positions, found["episodes"], reference)
    if asks != "place":
        labels = _labels(found, asks)
        order, train = shuffle(found["episodes"])
        parts = labels[order[train[order]]], labels[order[~train[order]]]
        data = Dataset(replace(data.train, labels=parts[0]), replace(data.test, labels=parts[1]))
    order, train = shuffle(found["episodes"])
    moments = np.stack([found["episodes"], found["steps"]], axis=1)[order[train[order]]]
    layout = Layout(POOLED, POOLED, 3, cameras=cameras, turns=False, span=SPAN)
    return replace(data, train=replace(data.train, moments=moments), layout=layout)


def _labels(found: Arrays, asks: str) -> npt.NDArray[Any]:
    if asks == "position":
        return found["objects"].astype(np.float32)
    if asks == "phase":
        return np.where(found["success"], 2, (found["moved"] > MOVED).astype(np.int64))
    return found[asks].astype(np.int64)


def shuffle(
    episodes: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the order that frames are shown in, (n,), and which are to learn from, (n,)."""
    return np.random.default_rng(SEED).permutation(len(episodes)), episodes < TRAIN_EPISODES


def label(
    frames: npt.NDArray[np.uint8],
    positions: npt.NDArray[np.float64],
    episodes: npt.NDArray[np.int64],
    reference: Arrays | None = None,
) -> Dataset:
    """Divide frames into those to learn from and those to test with, and positions into slices.

    Args:
        frames: (n, height, width, 3), or (n, cameras, height, width, 3).
        positions: of the object, along the axis that is divided, (n,).
        episodes: of each frame, (n,); those from `TRAIN_EPISODES` on are for testing.
        reference: see `make_dataset`.
    """
    order, train = shuffle(episodes)
    features = frames.reshape(len(frames), -1).astype(np.float64)
    known, places = features[train], positions[train]
    if reference is not None:
        of_reference = reference["episodes"] < TRAIN_EPISODES
        shown = reference["frames"][of_reference]
        known = shown.reshape(len(shown), -1).astype(np.float64)
        places = reference["objects"][of_reference, 1]
    mean = known.mean(axis=0)
    features = (features - mean) / (known - mean).std()
    edges = np.quantile(places, np.arange(1, NUM_BINS) / NUM_BINS)
    samples = Samples(features.astype(np.float32), np.searchsorted(edges, positions, side="right"))
    return Dataset(samples.of(order[train[order]]), samples.of(order[~train[order]]))


def _frames(name: str, asks: str, cameras: tuple[str, ...], description: str) -> LabelledSequence:
    touching = [task for task in ARM5.tasks if asks != "contact" or task not in TOUCHES_NOTHING]
    return LabelledSequence(
        name,
        tuple(FramesTask(task, asks, cameras) for task in touching),
        num_classes=ASKED[asks],
        description=description,
        steps_per_task=2_000,
    )


SHOWN = "camera frames of the five skills of arm5"
FRAMES = SEQUENCES.register("frames")(
    _frames("frames", "place", ("front",), f"{SHOWN}: in which slice of the table is the object?")
)
FRAMES_CONTACT = SEQUENCES.register("frames-contact")(
    _frames(
        "frames-contact",
        "contact",
        ("front",),
        "camera frames of the four skills of arm5 that touch something: does the hand?",
    )
)
FRAMES_PHASE = SEQUENCES.register("frames-phase")(
    _frames(
        "frames-phase",
        "phase",
        ("front",),
        f"{SHOWN}: is the object untouched, on its way, or the task solved?",
    )
)
FRAMES_SUCCESS = SEQUENCES.register("frames-success")(
    _frames("frames-success", "success", ("front",), f"{SHOWN}: is the task solved?")
)
FRAMES_TWO_CAMERAS = SEQUENCES.register("frames-two-cameras")(
    _frames(
        "frames-two-cameras",
        "place",
        ("front", "across"),
        f"{SHOWN}, from two sides: in which slice of the table is the object?",
    )
)
