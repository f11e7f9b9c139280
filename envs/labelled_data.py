"""Labelled samples, which of them are labelled, and how their features are pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.few_labels import Labels, Mask


@dataclass(frozen=True)
class Samples:
    """Labelled samples.

    Attributes:
        features: (n, d) float32.
        labels: classes (n,) int64, from 0; or numbers to regress, (n, k) float32.
        moments: episode and control step that each is of, (n, 2) int64; None where they are of no
            episodes.
    """

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]
    moments: npt.NDArray[np.int64] | None = None

    def of(self, rows: npt.NDArray[Any]) -> Samples:
        """Return the rows that an index or a mask picks."""
        moments = None if self.moments is None else self.moments[rows]
        return Samples(self.features[rows], self.labels[rows], moments)

    def in_task(self, task_id: int, num_tasks: int) -> Samples:
        """Return the samples with the one-hot of a task after their features."""
        tail = np.zeros((len(self.labels), num_tasks), np.float32)
        tail[:, task_id] = 1.0
        return replace(self, features=np.concatenate([self.features, tail], axis=1))


@dataclass(frozen=True)
class Layout:
    """How the features of a row are pictures.

    Attributes:
        height: of a picture, in pixels.
        width: of a picture, in pixels.
        channels: of a picture; the entries of a pixel follow each other, row by row.
        cameras: names of the cameras whose pictures follow each other.
        turns: whether a picture that is shifted or turned a little is still of its class; not
            where the class tells a place.
        span: value of what is darkest and of what is brightest, about.
    """

    height: int
    width: int
    channels: int
    cameras: tuple[str, ...]
    turns: bool
    span: tuple[float, float]

    @property
    def size(self) -> int:
        """Number of a row's features."""
        return len(self.cameras) * self.height * self.width * self.channels


@dataclass(frozen=True)
class Dataset:
    """What is learned from, and what is evaluated on; they have no sample in common.

    Attributes:
        train: to learn from.
        test: to evaluate on.
        layout: how the features are pictures; None where they are none.
        labelled: which rows of `train` are labelled, (n,); None for all.
    """

    train: Samples
    test: Samples
    layout: Layout | None = None
    labelled: Mask | None = None

    def in_task(self, task_id: int, num_tasks: int) -> Dataset:
        """Return the samples with the one-hot of a task after their features."""
        return replace(
            self,
            train=self.train.in_task(task_id, num_tasks),
            test=self.test.in_task(task_id, num_tasks),
        )

    def with_labels(self, labels: Labels, problem: str) -> Dataset:
        """Return the same samples, of which few are labelled.

        Args:
            labels: how many.
            problem: name of the problem.
        """
        return replace(self, labelled=labels.draw(self.train.labels, problem))


def join(datasets: Sequence[Dataset]) -> Dataset:
    """Return the samples of all datasets, one after the other, as one; all are alike."""
    first = datasets[0]
    masks = [each.labelled for each in datasets if each.labelled is not None]
    return replace(
        first,
        train=concatenate([each.train for each in datasets]),
        test=concatenate([each.test for each in datasets]),
        labelled=np.concatenate(masks) if masks else None,
    )


def concatenate(parts: Sequence[Samples]) -> Samples:
    """Return the samples of all parts, one after the other, whose episodes are not told apart."""
    return Samples(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
