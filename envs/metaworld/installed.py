"""Meta-World as it is installed: which version, and made to run on today's MuJoCo.

Meta-World 3.1.1 pins MuJoCo 3.3.0. One line of it does not run on later ones, and is replaced here.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import mujoco
import numpy as np

from lifelong_rl.errors import UserError

VERSION = "3.1.1"
"""Of Meta-World: another has other tasks, so that numbers would not be comparable."""
COMMAND = (
    f"pip install 'lifelong-rl[metaworld]' && pip install --no-deps metaworld=={VERSION} "
    "(or make metaworld, in a checkout)"
)
"""Installs it without its own pins, which are older than what this project needs."""
WELD = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0)
"""What Meta-World writes into a weld's ``eq_data``: anchor, relative pose and torque scale."""


@cache
def import_metaworld() -> Any:
    """Return the module ``metaworld``, once it is known to be the right one and to run.

    Raises:
        UserError: if it is missing, or of another version; the message names the command.
    """
    try:
        found = version("metaworld")
    except PackageNotFoundError:
        raise UserError(f"Meta-World is not installed: {COMMAND}") from None
    if found != VERSION:
        raise UserError(
            f"Meta-World is of version {found}, and its tasks are known here as those of "
            f"{VERSION}: {COMMAND}"
        )
    try:
        module = import_module("metaworld")
    except ImportError as error:
        raise UserError(f"Meta-World cannot be imported ({error}): {COMMAND}") from error
    if mujoco.mjNEQDATA > len(WELD):
        base = import_module("metaworld.sawyer_xyz_env").SawyerMocapBase
        base.reset_mocap_welds = reset_mocap_welds
    return module


def reset_mocap_welds(env: Any) -> None:
    """Do what Meta-World's method does, where a constraint has more numbers than a weld uses.

    Meta-World assigns the 11 numbers to all of a row, of which newer versions of MuJoCo have 12.

    Args:
        env: an environment of Meta-World, with its ``model``.
    """
    welds = env.model.eq_type == mujoco.mjtEq.mjEQ_WELD
    env.model.eq_data[welds, : len(WELD)] = np.array(WELD)
