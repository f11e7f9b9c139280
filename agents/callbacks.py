"""Stable-Baselines3 callbacks that report to the sequence loop."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback

from lifelong_rl.learning.protocols import Progress


class ProgressCallback(BaseCallback):
    """Calls `progress` with the number of environment steps done, after each step."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def _on_step(self) -> bool:
        self._progress(self.num_timesteps)
        return True
