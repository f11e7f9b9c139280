"""Frames of robots at work, with what is known about the state each of them shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.storage.array_file import ArrayFileError, ArrayFormat
from lifelong_rl.storage.json_file import Name, Shape

PROGRESS = "progress"
"""The label of recordings: the share of an episode that has gone by, from 0 to 1."""
_LABELS = "labels/"
_METADATA: Shape = {"tasks": [Name], "cameras": [Name], "policies": [Name]}


class FramesError(ArrayFileError):
    """A file of frames that cannot be used."""


FORMAT = ArrayFormat("frames", 1, command="frames", error=FramesError, shape=_METADATA)


@dataclass(frozen=True)
class Frames:
    """N moments of episodes, each seen by every camera.

    In files made by `lifelong-rl frames` the moments of an episode lie one after another without
    gaps, from its start.

    Attributes:
        images: (n, cameras, 3, h, w) uint8.
        episodes: Which episode each frame is of, the same for no two tasks or policies, (n,)
            int64.
        steps: Control steps since the start of the episode, (n,) int64.
        tasks: Index into `metadata["tasks"]`, (n,) int64.
        policies: Index into `metadata["policies"]`, (n,) int64.
        labels: What is known of the state by name, (n, k) float32; among them "hand" and "object",
            places in metres, and "joints", in radians. "action" is what the task's expert would do
            then, whoever acts; files made by earlier versions lack it. Recordings have "progress"
            alone, see `lifelong_rl.vision.recordings`.
        metadata: As JSON: "tasks", "cameras" and "policies", their names; files made by
            `lifelong-rl frames` also tell "task_versions", "size", "count", "seed" and "mujoco",
            its version.
    """

    images: npt.NDArray[np.uint8]
    episodes: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    tasks: npt.NDArray[np.int64]
    policies: npt.NDArray[np.int64]
    labels: Mapping[str, npt.NDArray[np.float32]]
    metadata: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Check that the arrays fit together.

        Raises:
            ValueError: They do not, or the metadata lacks an entry.
        """
        missing = [key for key in _METADATA if key not in self.metadata]
        if missing:
            raise ValueError(f"the metadata lacks {', '.join(missing)}")
        count, size = len(self.episodes), self.images.shape[3:]
        wanted: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "images": ((count, len(self.metadata["cameras"]), 3, *size), np.uint8),
            **dict.fromkeys(("episodes", "steps", "tasks", "policies"), ((count,), np.int64)),
        }
        found = {name: getattr(self, name) for name in wanted}
        for name, values in self.labels.items():
            found[_LABELS + name] = values
            wanted[_LABELS + name] = (count, *values.shape[1:2]), np.float32
        for name, (shape, dtype) in wanted.items():
            array = found[name]
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} is {array.dtype} of shape {array.shape}, not "
                    f"{dtype.__name__} of shape {shape}"
                )


def join(parts: Sequence[Any], metadata: Mapping[str, Any]) -> Frames:
    """Put frames of several tasks and policies together, and number their episodes through.

    Args:
        parts: Those of every policy in every task, policies innermost, each with the arrays of
            `lifelong_rl.envs.frames.TaskFrames`.
        metadata: See `Frames`.
    """
    sizes = [len(part.steps) for part in parts]
    first = np.cumsum([0, *(part.episodes[-1] + 1 for part in parts)])
    tasks, policies = np.divmod(np.arange(len(parts)), len(metadata["policies"]))
    return Frames(
        images=np.concatenate([part.images for part in parts]),
        episodes=np.concatenate([part.episodes + k for part, k in zip(parts, first, strict=False)]),
        steps=np.concatenate([part.steps for part in parts]),
        tasks=np.repeat(tasks, sizes),
        policies=np.repeat(policies, sizes),
        labels={
            name: np.concatenate([part.labels[name] for part in parts]) for name in parts[0].labels
        },
        metadata=metadata,
    )


def save_frames(path: Path, frames: Frames) -> None:
    """Write a file of frames; at any moment it is there completely or not at all.

    Raises:
        WriteError: The disk refused.
    """
    arrays = dict(vars(frames))
    labels, metadata = arrays.pop("labels"), arrays.pop("metadata")
    arrays.update({_LABELS + name: values for name, values in labels.items()})
    FORMAT.save(path, arrays, metadata)


def load_frames(path: Path) -> Frames:
    """Read a file of frames and check it.

    Raises:
        FramesError: The file is missing, damaged, changed or something else.
    """
    arrays, metadata = FORMAT.load(path)
    labels = {
        name.removeprefix(_LABELS): arrays.pop(name)
        for name in list(arrays)
        if name.startswith(_LABELS)
    }
    try:
        return Frames(**arrays, labels=labels, metadata=metadata)
    except (TypeError, ValueError) as error:
        raise FramesError(path, f"holds no frames: {error}") from error
