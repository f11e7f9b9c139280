"""What networks read of an observation."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from lifelong_rl.errors import UserError


def inputs_space(space: spaces.Space[Any], num_tasks: int) -> spaces.Space[Any]:
    """The space of observations without the task one-hot at their end.

    Args:
        space: As environments show them; a flat box if there are several tasks.
        num_tasks: Length of the one-hot; with 1 there is none.

    Raises:
        UserError: It has no such end.
    """
    if num_tasks == 1:
        return space
    if not isinstance(space, spaces.Box) or len(space.shape) != 1 or space.shape[0] <= num_tasks:
        raise UserError(
            f"observations of {num_tasks} tasks are flat and end with a one-hot of the task; those "
            f"here are {space}"
        )
    return spaces.Box(space.low[:-num_tasks], space.high[:-num_tasks], dtype=space.dtype.type)
