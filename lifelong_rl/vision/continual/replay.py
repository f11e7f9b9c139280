"""Replay for encoders: frames of old tasks beside those of the current one."""

from __future__ import annotations

from dataclasses import dataclass, field

from lifelong_rl.continual.replay import Replay
from lifelong_rl.options import Count, Scope
from lifelong_rl.registry import ENCODER_METHODS


@ENCODER_METHODS.register("replay")
class FrameReplay(Replay):
    """Experience replay, with a memory that is small beside the frames of a task.

    References:
        Rolnick et al. 2019, Experience replay for continual learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Replay.Options):
        """Options of FrameReplay.

        Attributes:
            per_task: Frames (or clips, if the objective looks at clips) kept of each task: a
                reservoir (untuned: as LUMP's).
            ratio: Rows of memory, evenly over the old tasks, for each row of the current task
                (Rolnick et al. 2019).
        """

        per_task: Count = 256
        scope: Scope = field(default="both", init=False)
