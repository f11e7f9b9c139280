"""Camera frames of the suite's own tasks, labelled with where the object is.

The frames are those of `lifelong_rl.envs.labelled_frames`. The label of each is the position of the
task's object, x, y and z in the world, in metres: of the puck, the button, the hand itself where
the skill is to reach. An action is a position too; its reward is minus its distance to the
object's, in metres, and it succeeds within `TOLERANCE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from lifelong_rl.compatibility import Trait
from lifelong_rl.envs.labelled import LabelledEnv, LabelledSequence
from lifelong_rl.envs.labelled_data import Dataset
from lifelong_rl.envs.labelled_frames import ASKED, SHOWN, FramesTask
from lifelong_rl.envs.sequences import ARM5
from lifelong_rl.registry import SEQUENCES

TOLERANCE = 0.02
"""How far from the object's position an action may be to succeed, m."""


class PositionEnv(LabelledEnv):
    """Test frames as episodes of one step, whose action is a position (3,), m."""

    def judge(
        self, actions: npt.NDArray[Any], labels: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return minus the distances, m, and whether they are within `TOLERANCE`, (n,) each.

        Args:
            actions: positions, (n, 3), m.
            labels: those of the objects, (n, 3), m.
        """
        distances = np.linalg.norm(actions - labels, axis=1)
        return (-distances).astype(np.float32), distances <= TOLERANCE


@dataclass(frozen=True)
class PositionSequence(LabelledSequence):
    """Tasks whose labels are positions."""

    offers: ClassVar[tuple[Trait, ...]] = ("regression targets",)

    def _show(self, dataset: Dataset, num_envs: int) -> PositionEnv:
        return PositionEnv(dataset, self.num_classes, num_envs)


FRAMES_POSITION = SEQUENCES.register("frames-position")(
    PositionSequence(
        "frames-position",
        tuple(FramesTask(task, "position") for task in ARM5.tasks),
        num_classes=ASKED["position"],
        description=f"{SHOWN}: where is the object, to {100 * TOLERANCE:.0f} cm?",
        steps_per_task=2_000,
    )
)
