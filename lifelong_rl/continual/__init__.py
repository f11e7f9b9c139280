"""Continual-learning methods by name.

`make("ewc", strength=1e4)` builds a method, `make("replay+ewc")` a chain of two; `METHODS` lists
what exists, plug-ins included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifelong_rl.continual.chain import Chain, split_options
from lifelong_rl.errors import ContractError, UserError
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.options import check_options
from lifelong_rl.registry import METHODS, Registry


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
        ContractError: It is no continual method, or its constructor leaves out that of its base.
    """
    factory = registry.get(name)
    if not issubclass(factory, ContinualMethod):
        raise ContractError(f"the {registry.kind} '{name}'", f"{factory!r} is not {registry.is_a}")
    owner = f"{registry.kind} '{name}'"
    checked = check_options(factory, options, owner)
    try:
        method: ContinualMethod = factory(**checked)
        _ = method.options  # there is none unless the base's constructor was called
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{owner}: {error}") from error
    return method


__all__ = ["METHODS", "ContinualMethod", "make", "make_from"]
