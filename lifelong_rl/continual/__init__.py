"""Continual-learning methods by name.

`make("ewc", strength=1e4)` builds a method, `make("replay+ewc")` a chain of two; `METHODS` lists
what exists, plug-ins included.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lifelong_rl.continual.chain import Chain, split_options
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.registry import Registry

METHODS = Registry(
    "method",
    {
        "finetune": "lifelong_rl.continual.finetune:Finetune",
        "ewc": "lifelong_rl.continual.ewc:EWC",
        "agem": "lifelong_rl.continual.agem:AGEM",
        "replay": "lifelong_rl.continual.replay:Replay",
        "progressive": "lifelong_rl.continual.progressive:Progressive",
        "clone": "lifelong_rl.continual.clone:Clone",
        "lwf": "lifelong_rl.continual.lwf:LwF",
        "packnet": "lifelong_rl.continual.packnet:PackNet",
        "single-task": "lifelong_rl.continual.single_task:SingleTask",
        "perfect-memory": "lifelong_rl.continual.perfect_memory:PerfectMemory",
        "joint": "lifelong_rl.continual.joint:Joint",
        "generative-replay": "lifelong_rl.continual.generative_replay:GenerativeReplay",
        "icarl": "lifelong_rl.continual.icarl:ICaRL",
        "den": "lifelong_rl.continual.den:DEN",
        "l2": "lifelong_rl.continual.l2:L2",
        "si": "lifelong_rl.continual.si:SI",
        "mas": "lifelong_rl.continual.mas:MAS",
        "vcl": "lifelong_rl.continual.vcl:VCL",
        "gem": "lifelong_rl.continual.gem:GEM",
        "ogd": "lifelong_rl.continual.ogd:OGD",
        "rgo": "lifelong_rl.continual.rgo:RGO",
    },
)


def make(name: str, **options: Any) -> ContinualMethod:
    """Build the method called `name`, or the chain of several, such as "replay+ewc".

    Args:
        name: A name from `lifelong-rl list methods`, or several joined by "+".
        options: Keyword arguments of the method's class; those of a chain's methods are called
            "ewc.strength" and so on.

    Raises:
        UnknownNameError: No such method, or no such option of it.
        UserError: An option has a value that the method does not accept, or methods do not go
            together.
    """
    parts = split_options(name, options)
    methods = {part: make_from(METHODS, part, own) for part, own in parts.items()}
    method = methods[name] if name in methods else Chain(methods)
    method.made_as = (name, dict(options))
    return method


def make_from(registry: Registry, name: str, options: Mapping[str, Any]) -> ContinualMethod:
    """Build one method of a registry.

    Args:
        registry: Holds classes of methods.
        name: Of the class.
        options: Keyword arguments of the class.

    Raises:
        UnknownNameError: No such method, or no such option of it.
        UserError: An option has a value that the method does not accept.
    """
    factory = registry.get(name)
    if not (isinstance(factory, type) and issubclass(factory, ContinualMethod)):
        raise UserError(
            f"the {registry.kind} '{name}' is not a subclass of ContinualMethod: {factory!r}"
        )
    known = list(inspect.signature(factory).parameters)
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of {name}", option, known, see="")
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"method '{name}': {error}") from error


__all__ = ["METHODS", "ContinualMethod", "make", "make_from"]
