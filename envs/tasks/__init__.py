"""The tasks, one file each."""

from __future__ import annotations

from typing import Any

from envs.arm.task import ArmTask
from envs.names import lookup
from envs.task import Task
from envs.tasks.button_press import ButtonPress
from envs.tasks.door_open import DoorOpen
from envs.tasks.drawer_close import DrawerClose
from envs.tasks.drawer_open import DrawerOpen
from envs.tasks.faucet_turn import FaucetTurn
from envs.tasks.peg_unplug import PegUnplug
from envs.tasks.pick_place import PickPlace
from envs.tasks.push import Push
from envs.tasks.reach import Reach
from envs.tasks.valve import MORE_VALVES, VALVES
from envs.tasks.window_slide import WindowSlide

ARM_TASKS: tuple[ArmTask, ...] = (
    Reach(),
    ButtonPress(),
    DrawerOpen(),
    DrawerClose(),
    DoorOpen(),
    FaucetTurn(),
    WindowSlide(),
    Push(),
    PickPlace(),
    PegUnplug(),
)
"""The arm's ten skills."""

_ALL: tuple[Task[Any, Any], ...] = (*ARM_TASKS, *VALVES, *MORE_VALVES)
TASKS = {task.name: task for task in _ALL}
"""Every task by name."""


def get_task(name: str) -> Task[Any, Any]:
    """Return the task of that name.

    Raises:
        UnknownNameError: if there is none.
    """
    return lookup("task", name, TASKS)
