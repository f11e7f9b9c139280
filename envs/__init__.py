"""MuJoCo manipulation tasks for continual reinforcement learning.

``gymnasium.make("LifelongRL/DrawerOpen-v0")`` makes a single environment,
``gymnasium.make_vec("LifelongRL/DrawerOpen-v0", 32)`` many at once, stepped as one batch, and
``lifelong_rl.envs.make_vec("drawer-open", num_envs=32)`` the same for Stable-Baselines3.
Importing this package tells Gymnasium of the tasks.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Unpack

from lifelong_rl.errors import UserError

if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    # has to be decided before mujoco is first imported; EGL renders without a display
    os.environ.setdefault("MUJOCO_GL", "egl")

try:
    import mujoco  # noqa: F401
except ImportError:
    raise
except Exception as _error:  # what MUJOCO_GL names is loaded at once, and fails in its own way
    raise UserError(
        f"MuJoCo cannot be imported with MUJOCO_GL={os.environ.get('MUJOCO_GL')}: {_error}; set "
        "MUJOCO_GL=egl, or another that this machine has"
    ) from _error

from lifelong_rl.envs.registration import register_environments, register_task
from lifelong_rl.envs.tasks import TASKS, get_task

if TYPE_CHECKING:
    from lifelong_rl.envs.pixels import PixelOptions
    from lifelong_rl.envs.vec_env import BatchVecEnv

__all__ = ["TASKS", "get_task", "make_vec", "register_task"]


def make_vec(
    task: str,
    *,
    num_envs: int,
    num_threads: int = 1,
    seed: int | None = None,
    render_mode: str | None = None,
    observation: str = "state",
    **pixels: Unpack[PixelOptions],
) -> BatchVecEnv:
    """Return many environments of one task as a Stable-Baselines3 ``VecEnv``.

    Args:
        task: the task's name, a key of `TASKS`.
        num_envs: number of environments.
        num_threads: threads that step them; 0 takes every CPU.
        seed: seeds the environments' episodes; None takes one from the operating system.
        render_mode: None or ``"rgb_array"``.
        observation: ``"state"`` or ``"pixels"``.
        **pixels: how pixel observations look: ``cameras``, ``size``, ``frame_stack`` and
            ``proprioception``, see `lifelong_rl.envs.pixels.Pixels`.

    Raises:
        UnknownNameError: if there is no such task or camera.
    """
    from lifelong_rl.envs.batch_env import BatchEnv
    from lifelong_rl.envs.vec_env import BatchVecEnv  # imports Stable-Baselines3, and with it torch

    env = BatchVecEnv(
        BatchEnv(get_task(task), num_envs, num_threads),
        render_mode=render_mode,
        observation=observation,
        **pixels,
    )
    if seed is not None:
        env.seed(seed)
    return env


register_environments()
