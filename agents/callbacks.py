"""Stable-Baselines3 callbacks that report to the sequence loop."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback

from lifelong_rl.learning.protocols import Pause, Progress, no_pause


class ProgressCallback(BaseCallback):
    """Calls `progress` with the number of environment steps done, after each step.

    Args:
        progress: Called.
        pause: Called before each rollout, where nothing is half done: the updates on the rollout
            before it have been made, and an off-policy learner's last step is in its buffer.
    """

    def __init__(self, progress: Progress, pause: Pause = no_pause) -> None:
        super().__init__()
        self._progress = progress
        self._pause = pause

    def _on_rollout_start(self) -> None:
        self._pause()

    def _on_step(self) -> bool:
        self._progress(self.num_timesteps)
        return True
