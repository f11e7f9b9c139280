"""What networks read of an observation."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces


def inputs_space(space: spaces.Space[Any], num_tasks: int) -> spaces.Space[Any]:
    """The space of observations without the task one-hot at their end.

    Args:
        space: As environments show them; a flat box if there are several tasks.
        num_tasks: Length of the one-hot; with 1 there is none.
    """
    if num_tasks == 1:
        return space
    assert isinstance(space, spaces.Box)
    return spaces.Box(space.low[:-num_tasks], space.high[:-num_tasks], dtype=space.dtype.type)
