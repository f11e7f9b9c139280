"""`lifelong-rl list`: what there is to choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import tyro

from lifelong_rl.cli.options import Command, Repeated
from lifelong_rl.errors import UnknownNameError

KINDS = ("tasks", "sequences", "agents", "methods", "objectives", "encoder-methods")


@dataclass(frozen=True, kw_only=True)
class List(Command):
    """List tasks, sequences, agents, methods, objectives and encoder-methods, with plug-ins.

    The list of methods also tells which of them work with which agents.

    Attributes:
        kind: One of tasks, sequences, agents, methods, objectives, encoder-methods; all of them if
            it is left out.
        plugin: Module to import first; it may register any of them but tasks.
    """

    kind: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")] = None
    plugin: Repeated = ()

    def __call__(self) -> int:
        """Print the lists."""
        if self.kind not in (None, *KINDS):
            raise UnknownNameError("list", str(self.kind), KINDS, see="lifelong-rl list --help")
        from lifelong_rl.runs.setup import load_plugins

        broken = []
        for module in self.plugin:
            try:
                load_plugins([module])
            except Exception as error:
                broken.append((module, f"broken: {error}"))
        for kind in KINDS:
            if self.kind in (None, kind):
                _print_section(kind, _entries(kind))
        if self.kind == "methods":
            _print_refusals()
        if broken:
            _print_section("plug-ins", broken)
        return 0


def _entries(kind: str) -> Iterable[tuple[str, str]]:
    if kind == "tasks":
        return _tasks()
    from lifelong_rl.continual import METHODS
    from lifelong_rl.registry import AGENTS, SEQUENCES
    from lifelong_rl.vision.continual import ENCODER_METHODS
    from lifelong_rl.vision.objectives import OBJECTIVES

    registry = {
        "sequences": SEQUENCES,
        "agents": AGENTS,
        "methods": METHODS,
        "objectives": OBJECTIVES,
        "encoder-methods": ENCODER_METHODS,
    }[kind]
    return [(name, _or_broken(partial(registry.describe, name))) for name in registry.names()]


def _tasks() -> list[tuple[str, str]]:
    try:
        from lifelong_rl.envs.tasks import TASKS
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


def _print_refusals() -> None:
    """Print a table of methods and agents, and why where a pair does not work."""
    import torch

    from lifelong_rl.continual import METHODS
    from lifelong_rl.registry import AGENTS
    from lifelong_rl.runs.compatibility import find_refusal, try_agents

    torch.set_num_threads(1)  # more only wait for each other on networks this small
    try:
        agents = try_agents(AGENTS.names())
    except Exception as error:
        print(f"  with which agents they work cannot be tried: {type(error).__name__}: {error}")
        return
    methods = METHODS.names()
    width = max(map(len, methods))
    reasons = []
    print("  with the agents (+ works, - does not):")
    print("  " + "  ".join(["".ljust(width), *agents]))
    for method in methods:
        row = [method.ljust(width)]
        for agent, begin in agents.items():
            reason = find_refusal(method, begin)
            row.append(("+" if reason is None else "-").ljust(len(agent)))
            if reason is not None:
                reasons.append((f"{method} with {agent}", reason))
        print("  " + "  ".join(row).rstrip())
    for pair, reason in reasons:
        print(f"  {pair}: {' '.join(reason.split())}")
