"""The tasks, one file each."""

from __future__ import annotations

from typing import Any

from lifelong_rl.envs.arm.task import ArmTask
from lifelong_rl.envs.task import Task
from lifelong_rl.envs.tasks.button_press import ButtonPress
from lifelong_rl.envs.tasks.door_open import DoorOpen
from lifelong_rl.envs.tasks.drawer_close import DrawerClose
from lifelong_rl.envs.tasks.drawer_open import DrawerOpen
from lifelong_rl.envs.tasks.faucet_turn import FaucetTurn
from lifelong_rl.envs.tasks.peg_unplug import PegUnplug
from lifelong_rl.envs.tasks.pick_place import PickPlace
from lifelong_rl.envs.tasks.push import Push
from lifelong_rl.envs.tasks.reach import Reach
from lifelong_rl.envs.tasks.valve import MORE_VALVES, VALVES
from lifelong_rl.envs.tasks.window_slide import WindowSlide
from lifelong_rl.registry import lookup

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
