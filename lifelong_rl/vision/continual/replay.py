"""Replay for encoders: frames of old tasks beside those of the current one."""

from __future__ import annotations

from lifelong_rl.continual.replay import Replay
from lifelong_rl.registry import ENCODER_METHODS


@ENCODER_METHODS.register("replay")
class FrameReplay(Replay):
    """Experience replay, with a memory that is small beside the frames of a task.

    Args:
        per_task: Frames (or clips, if the objective looks at clips) kept of each task: a reservoir.
        ratio: Rows of memory, evenly over the old tasks, for each row of the current task.

    Raises:
        ValueError: No capacity, or a ratio that is not positive.
    """

    def __init__(self, *, per_task: int = 256, ratio: float = 1.0) -> None:
        super().__init__(per_task=per_task, ratio=ratio)
