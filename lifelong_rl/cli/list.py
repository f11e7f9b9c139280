"""`lifelong-rl list`: what there is to choose from, and the manual of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import tyro

from lifelong_rl.cli.options import Command, Repeated
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.runs import settings


@dataclass(frozen=True, kw_only=True)
class List(Command):
    """List tasks, sequences, agents, methods, objectives, settings …, or describe one of them.

    With the name of one of them it prints its manual: what it is, options, papers, who goes with
    whom. The list of methods also tells which of them work with which agents.

    Attributes:
        name: One of tasks, sequences, agents, methods, unlabelled-objectives, objectives,
            encoder-methods, settings, or of what these list, such as ewc or sac; all is listed if
            it is left out.
        plugin: Module to import first; it may register any of them.
    """

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="KIND|NAME")] = None
    plugin: Repeated = ()

    def __call__(self) -> int:
        """Print the lists, or the manual."""
        from lifelong_rl.manual import TABLES
        from lifelong_rl.registry import load_plugins

        broken = []
        for module in self.plugin:
            try:
                load_plugins([module])
            except Exception as error:
                broken.append((module, f"broken: {error}"))
        is_settings = self.name in settings.names()
        if self.name is not None and (is_settings or self.name.startswith(settings.PREFIX)):
            print(settings.read(self.name), end="")
        elif self.name is None or self.name in (*TABLES, "settings"):
            for kind in TABLES:
                if self.name in (None, kind):
                    _print_section(kind, _entries(kind))
            if self.name in (None, "settings"):
                found = [(name, settings.describe(name)) for name in settings.names()]
                _print_section("settings", found)
            if self.name == "methods":
                _print_refusals()
        else:
            _print_manuals(self.name, broken)
        if broken:
            _print_section("plug-ins", broken)
        return 0


def _entries(kind: str) -> list[tuple[str, str]]:
    from lifelong_rl.manual import TABLES

    table = TABLES[kind]
    found = [(name, _or_broken(partial(table.describe, name))) for name in table.names()]
    return found + [(module, f"broken: {problem}") for module, problem in table.broken.items()]


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


def _print_manuals(name: str, broken: Sequence[tuple[str, str]]) -> None:
    """Print the manual of what is called `name`, one for each kind that has the name.

    Args:
        name: Of a thing.
        broken: Plug-ins that could not be imported, and why.

    Raises:
        UnknownNameError: Nothing is called so.
        UserError: Nothing is, and what may hold it is broken.
    """
    from lifelong_rl.manual import TABLES, format_manual, read_manual

    kinds = [kind for kind, table in TABLES.items() if name in table]
    if not kinds:
        for table in TABLES.values():
            with suppress(UnknownNameError):
                table.check(name)  # the file that is called so may be broken
        if broken:
            raise UserError(f"unknown name '{name}', and {broken[0][0]} is {broken[0][1]}")
        known = {
            *TABLES,
            "settings",
            *settings.names(),
            *(each for table in TABLES.values() for each in table.names()),
        }
        raise UnknownNameError("name", name, known, see="lifelong-rl list")
    print("\n\n\n".join(format_manual(read_manual(kind, name)) for kind in kinds))


def _print_refusals() -> None:
    """Print a table of methods and agents, and why where a pair does not work."""
    from lifelong_rl.compatibility import find_partners, find_refusal
    from lifelong_rl.registry import AGENTS, METHODS

    agents, methods = AGENTS.names(), METHODS.names()
    width = max(map(len, methods))
    refusals = []
    print("  with the agents (+ works, - does not, ? does not tell):")
    print("  " + "  ".join(["".ljust(width), *agents]))
    for method in methods:
        partners = find_partners(METHODS, method, AGENTS)
        row = [method.ljust(width)]
        for agent in agents:
            refused = agent in partners.refused
            sign = "-" if refused else "+" if agent in partners.fitting else "?"
            row.append(sign.ljust(len(agent)))
            if refused:
                refusals.append(find_refusal(METHODS, method, AGENTS, agent))
        print("  " + "  ".join(row).rstrip())
    for refusal in refusals:
        print(f"  {refusal}")
