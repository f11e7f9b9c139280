"""Looking things up by name, with the nearest right name in the error."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class UnknownNameError(ValueError):
    """Something was asked for by a name that does not exist.

    Attributes:
        known: the names that exist.
    """

    def __init__(self, message: str, known: tuple[str, ...] = ()) -> None:
        """Keep the known names beside the message."""
        super().__init__(message)
        self.known = known


def lookup(kind: str, name: str, table: Mapping[str, T], *, listed: bool = True) -> T:
    """Return ``table[name]``.

    Args:
        kind: what the table holds, in the singular: ``"task"`` or ``"sequence"``.
        name: the name asked for.
        table: the known names.
        listed: whether ``lifelong-rl list`` lists such names.

    Raises:
        UnknownNameError: if the name is not in the table; the one-line message holds the nearest
            name that is, and the command that lists them all, if there is one.
    """
    if name in table:
        return table[name]
    close = difflib.get_close_matches(name, table, n=1)
    nearest = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(table)}"
    see = f" (see: lifelong-rl list {kind}s)" if listed else ""
    raise UnknownNameError(f"unknown {kind} '{name}'; {nearest}{see}", tuple(table))
