"""Continual-learning methods by name.

`make("ewc", strength=1e4)` builds a method; `METHODS` lists what exists, plug-ins included.
"""

from __future__ import annotations

import inspect
from typing import Any

from lifelong_rl.continual.base import ContinualMethod
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.registry import Registry

METHODS = Registry(
    "method",
    {
        "finetune": "lifelong_rl.continual.finetune:Finetune",
        "ewc": "lifelong_rl.continual.ewc:EWC",
        "agem": "lifelong_rl.continual.agem:AGEM",
        "replay": "lifelong_rl.continual.replay:Replay",
        "progressive": "lifelong_rl.continual.progressive:Progressive",
    },
)


def make(name: str, **options: Any) -> ContinualMethod:
    """Build the method called `name`.

    Args:
        name: A name from `lifelong-rl list methods`.
        options: Keyword arguments of the method's class.

    Raises:
        UnknownNameError: No such method, or no such option of it.
        UserError: An option has a value that the method does not accept.
    """
    factory = METHODS.get(name)
    if not (isinstance(factory, type) and issubclass(factory, ContinualMethod)):
        raise UserError(f"the method '{name}' is not a subclass of ContinualMethod: {factory!r}")
    known = [key for key in inspect.signature(factory).parameters if key != "self"]
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of {name}", option, known, see="")
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"method '{name}': {error}") from error


__all__ = ["METHODS", "ContinualMethod", "make"]
