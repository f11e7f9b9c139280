"""Which rows of a dataset are labelled, where only few are.

`Labels` says how many: a share of all rows, or a number of each class. Each class has equally many,
and at least one; where a class has fewer rows than that, all of them. They are drawn from a seed
and the name of the problem alone, so a problem has the same labelled rows in whatever order the
problems are learned, and those of a smaller share are among those of a larger one.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

LABELS_SEED = 20_021

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Labels:
    """How many rows are labelled.

    Attributes:
        amount: a share of all rows, in (0, 1), or a whole number of each class, at least 1.
        seed: of the draw.
    """

    amount: float
    seed: int

    def draw(self, labels: npt.NDArray[Any], problem: str) -> Mask:
        """Return which rows are labelled, (n,).

        Args:
            labels: the classes of all rows, (n,) int64; or what is to be regressed, float, whose
                rows are drawn as if they were of one class.
            problem: name of the problem that they are of.
        """
        classes = labels if labels.dtype.kind == "i" else np.zeros(len(labels), np.int64)
        kinds = np.unique(classes)
        rng = np.random.default_rng([LABELS_SEED, self.seed, zlib.crc32(problem.encode())])
        chosen = np.zeros(len(labels), bool)
        for kind in kinds:
            rows = rng.permutation(np.flatnonzero(classes == kind))
            chosen[rows[: self._per_class(len(labels), len(kinds))]] = True
        return chosen

    def _per_class(self, rows: int, classes: int) -> int:
        if isinstance(self.amount, int):
            return self.amount
        return max(1, round(self.amount * rows / classes))
