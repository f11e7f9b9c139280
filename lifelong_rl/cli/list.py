"""`lifelong-rl list`: what there is to choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import tyro

from lifelong_rl.cli.options import Command, Repeated
from lifelong_rl.errors import UnknownNameError

KINDS = ("tasks", "sequences", "agents", "methods")


@dataclass(frozen=True, kw_only=True)
class List(Command):
    """List tasks, sequences, agents and methods, plug-ins included.

    Attributes:
        kind: One of tasks, sequences, agents, methods; all of them if it is left out.
        plugin: Module to import first; it may register agents, methods and sequences.
    """

    kind: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")] = None
    plugin: Repeated = ()

    def __call__(self) -> int:
        """Print the lists."""
        if self.kind not in (None, *KINDS):
            raise UnknownNameError("list", str(self.kind), KINDS, see="lifelong-rl list --help")
        from lifelong_rl.benchmark.setup import load_plugins

        broken = []
        for module in self.plugin:
            try:
                load_plugins([module])
            except Exception as error:
                broken.append((module, f"broken: {error}"))
        for kind in KINDS:
            if self.kind in (None, kind):
                _print_section(kind, _entries(kind))
        if broken:
            _print_section("plug-ins", broken)
        return 0


def _entries(kind: str) -> Iterable[tuple[str, str]]:
    if kind == "tasks":
        return _tasks()
    from lifelong_rl.benchmark import AGENTS, SEQUENCES
    from lifelong_rl.continual import METHODS

    registry = {"sequences": SEQUENCES, "agents": AGENTS, "methods": METHODS}[kind]
    return [(name, _or_broken(partial(registry.describe, name))) for name in registry.names()]


def _tasks() -> list[tuple[str, str]]:
    try:
        from envs.tasks import TASKS
    except Exception as error:
        return [("-", f"broken: {type(error).__name__}: {error}")]
    return [(name, task.description) for name, task in TASKS.items()]


def _or_broken(describe: Callable[[], str]) -> str:
    try:
        return describe()
    except Exception as error:
        return f"broken: {error}"


def _print_section(title: str, entries: Iterable[tuple[str, str]]) -> None:
    print(f"{title}:")
    entries = list(entries)
    width = max((len(name) for name, _ in entries), default=0)
    for name, description in entries:
        print(f"  {name:<{width}}  {' '.join(description.split())}".rstrip())
