"""The range of continuous actions, which networks know as [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ActionBounds:
    """Least and largest actions, (action_dim,) each."""

    low: np.ndarray
    high: np.ndarray

    def scale(self, actions: np.ndarray) -> np.ndarray:
        """Map actions (n, action_dim) to [-1, 1]."""
        scaled: np.ndarray = 2.0 * ((actions - self.low) / (self.high - self.low)) - 1.0
        return scaled

    def unscale(self, scaled: np.ndarray) -> np.ndarray:
        """Undo `scale`."""
        actions: np.ndarray = self.low + 0.5 * (scaled + 1.0) * (self.high - self.low)
        return actions
