"""A class with methods that its subclasses owe cannot be instantiated."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, ABCMeta, abstractmethod

import pytest

import lifelong_rl
from lifelong_rl.continual.consolidation import Consolidation
from lifelong_rl.continual.distillation import Distillation


def owed_without_refusal(cls: type) -> list[str]:
    """Methods of its own that a class declares abstract without effect."""
    if isinstance(cls, ABCMeta):
        return []
    return [
        name for name, value in vars(cls).items() if getattr(value, "__isabstractmethod__", False)
    ]


def test_what_is_abstract_is_refused() -> None:
    """`abstractmethod` has no effect in a class whose metaclass is not ABCMeta."""
    found = {}
    for module in pkgutil.walk_packages(lifelong_rl.__path__, "lifelong_rl."):
        if module.name.endswith("__main__"):
            continue
        for cls in vars(importlib.import_module(module.name)).values():
            ours = isinstance(cls, type) and cls.__module__.startswith("lifelong_rl.")
            if ours and owed_without_refusal(cls):
                found[f"{cls.__module__}.{cls.__qualname__}"] = owed_without_refusal(cls)
    assert found == {}


@pytest.mark.parametrize("cls", [Consolidation, Distillation])
def test_a_method_without_its_own_part_is_refused(cls: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        cls()


def test_the_look_finds_one() -> None:
    class Plain:
        @abstractmethod
        def act(self) -> None: ...

    class Refused(ABC):
        @abstractmethod
        def act(self) -> None: ...

    assert owed_without_refusal(Plain) == ["act"] and owed_without_refusal(Refused) == []
