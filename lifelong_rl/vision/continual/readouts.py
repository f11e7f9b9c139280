"""Linear heads on an encoder, task by task: fresh ones, and those of encoders before it.

A fresh head is fitted to the very encoder that it is judged with: what is there to be read. A stale
one was fitted right after its task and is used with a later encoder: what a policy head that nobody
has touched since would see break.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from lifelong_rl.metrics import matrix as metrics
from lifelong_rl.vision.encoder import Encoder, encode
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.probe import (
    UNITS,
    Array,
    Labels,
    Ridge,
    error_in,
    fit_probe,
    labels_of,
    r2,
)
from lifelong_rl.vision.sampling import Split

ACTION = "action"
"""The label that tells what the task's expert would do in the state shown."""
READ = {**UNITS, ACTION: "1"}
"""What heads tell, if the frames have it in every task, and the unit of their error."""

Table = list[list[float | None]]
"""A row for each encoder, from before the first task on, and a column for each task; None where a
task has no head yet, or where R² is not defined."""


@dataclass
class Scores:
    """How well the heads of one label do.

    Attributes:
        unit: Of the error.
        r2: R² on the task's test episodes.
        error: Mean error there, see `lifelong_rl.vision.probe.error_in`.
    """

    unit: str
    r2: Table = field(default_factory=list)
    error: Table = field(default_factory=list)

    def add(self, heads: Sequence[Ridge], features: Array, labels: Sequence[Labels]) -> None:
        """Add the row of an encoder.

        Args:
            heads: Of the first tasks, or of all.
            features: Of all frames, (n, d).
            labels: Of each task.
        """
        self.r2.append([None] * len(labels))
        self.error.append([None] * len(labels))
        for j, (head, (rows, (_, _, test))) in enumerate(zip(heads, labels, strict=False)):
            predicted = head.predict(features[rows.test])
            self.r2[-1][j] = r2(predicted, test)
            self.error[-1][j] = error_in(self.unit, predicted, test)


class Readouts:
    """Fresh and stale heads of all tasks, for one encoder after another.

    Args:
        frames: Of one camera.
        splits: The episodes of each task.

    Attributes:
        fresh: Scores of fresh heads by label.
        stale: Scores of stale heads by label; right after its task a head is still fresh.
    """

    def __init__(self, frames: Frames, splits: Sequence[Split]) -> None:
        self._images = torch.from_numpy(frames.images[:, 0])
        labels = [labels_of(frames, split, READ) for split in splits]
        self._labels = {
            name: [found[name] for found in labels]
            for name in READ
            if all(name in found for found in labels)
        }
        self._heads: dict[str, list[Ridge]] = {name: [] for name in self._labels}
        self.fresh = {name: Scores(READ[name]) for name in self._labels}
        self.stale = {name: Scores(READ[name]) for name in self._labels}

    def judge(self, encoder: Encoder) -> None:
        """Add the row of an encoder: the first time before all tasks, then after each."""
        features = encode(encoder, self._images).cpu().double().numpy()
        for name, labels in self._labels.items():
            heads, kept = [fit_probe(features, label) for label in labels], self._heads[name]
            if self.fresh[name].r2:
                kept.append(heads[len(kept)])
            self.fresh[name].add(heads, features, labels)
            self.stale[name].add(kept, features, labels)

    def last_row(self, tasks: Sequence[str]) -> dict[str, float]:
        """The scores of the last encoder, by names as TensorBoard groups them."""
        found = {}
        for kind, by_label in (("fresh", self.fresh), ("stale", self.stale)):
            for label, scores in by_label.items():
                for name, table in (("r2", scores.r2), ("error", scores.error)):
                    for task, value in zip(tasks, table[-1], strict=True):
                        if value is not None:
                            found[f"{kind}_{label}_{name}/{task}"] = value
        return found

    def results(self) -> dict[str, Any]:
        """Tables and metrics of fresh and stale heads, and the errors of predicting the mean."""
        return {
            "fresh": {name: _describe(scores) for name, scores in self.fresh.items()},
            "stale": {name: _describe(scores) for name, scores in self.stale.items()},
            "mean": {
                name: [
                    error_in(READ[name], np.broadcast_to(train.mean(axis=0), test.shape), test)
                    for _, (train, _, test) in labels
                ]
                for name, labels in self._labels.items()
            },
        }


def summarise(scores: Scores) -> dict[str, float | None]:
    """Metrics of R² and of the error, see `lifelong_rl.metrics.matrix`; None if not defined.

    "forgetting_error" is by how much the error has grown since the task was learned.
    """
    matrix, error = (np.array(table, dtype=float) for table in (scores.r2, scores.error))
    found = {
        "final_r2": metrics.average_performance(matrix),
        "learned_r2": metrics.learned_performance(matrix),
        "forgetting_r2": metrics.forgetting(matrix),
        "forward_transfer_r2": metrics.forward_transfer(matrix),
        "final_error": metrics.average_performance(error),
        "learned_error": metrics.learned_performance(error),
        "forgetting_error": metrics.forgetting(-error),
    }
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in found.items()
    }


def _describe(scores: Scores) -> Mapping[str, Any]:
    return {**vars(scores), "metrics": summarise(scores)}
