"""Continual methods for encoders, by name: the tasks' frames come one task after another.

`make("replay", per_task=500)` builds one; `ENCODER_METHODS` lists what exists, plug-ins included.
Fine-tuning, replay and joint learning are those of `lifelong_rl.continual`; what compares images or
features is here.
"""

from __future__ import annotations

from typing import Any

from lifelong_rl.continual import ContinualMethod, make_from
from lifelong_rl.registry import ENCODER_METHODS


def make(name: str, **options: Any) -> ContinualMethod:
    """Build the method called `name`.

    Args:
        name: A name from `lifelong-rl list encoder-methods`.
        options: Keyword arguments of the method's class.

    Raises:
        UnknownNameError: No such method, or no such option of it.
        UserError: An option has a value that the method does not accept.
    """
    return make_from(ENCODER_METHODS, name, options)


__all__ = ["ENCODER_METHODS", "make"]
