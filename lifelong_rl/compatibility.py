"""Who goes with whom, by what each declares: what one needs, another has to offer.

Methods need something of agents, agents of sequences, methods for encoders of objectives. Each
declares it in class attributes `needs` and `offers`, tuples of the names below, written as literals
so that they can be read without importing anything. What declares no `offers` is not judged here:
it is refused, if at all, when a first task begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lifelong_rl.registry import (
    AGENTS,
    ENCODER_METHODS,
    METHODS,
    OBJECTIVES,
    SEQUENCES,
    Registry,
)

Trait = Literal[
    "replayable losses",
    "class labels",
    "networks alone",
    "continuous actions",
    "expert",
    "labelled data",
    "unlabelled data",
    "regression targets",
    "comparison",
    "any frames",
]
"""What one can need of another, and another offer."""
MEANINGS: dict[Trait, str] = {
    "replayable losses": "losses that hold for rows of old tasks, not for fresh rows only",
    "class labels": "classes to predict, and their labels when a task begins",
    "networks alone": "encoders that are not learned, because it protects its own networks alone",
    "continuous actions": "tasks with continuous actions",
    "expert": "tasks with an expert to learn demonstrations from",
    "labelled data": "data labelled with classes",
    "unlabelled data": "rows to learn classes from without their labels",
    "regression targets": "data labelled with numbers to regress",
    "comparison": "a comparison of two embeddings of a frame",
    "any frames": "a loss that can go on to the frames of another task",
}
"""What is needed, in words that go on after "needs"."""
PAIRS: tuple[tuple[Registry, Registry], ...] = (
    (METHODS, AGENTS),
    (AGENTS, SEQUENCES),
    (ENCODER_METHODS, OBJECTIVES),
)
"""Tables of what needs something, each with the table of what offers it."""


@dataclass(frozen=True)
class Partners:
    """Who goes with a thing, of one kind.

    Attributes:
        kind: Of these, in the plural.
        fitting: Names of those that go with it.
        refused: What is wrong with the others, in words, by name.
        untold: Names of those that do not declare it; a run finds out.
    """

    kind: str
    fitting: tuple[str, ...]
    refused: dict[str, str]
    untold: tuple[str, ...]


def explain_refusal(
    needing: str, needs: Sequence[Any], offering: str, offers: Sequence[Any] | None
) -> str | None:
    """Why two do not go together, in one line; None if they do, or `offers` are not declared.

    Args:
        needing: What needs something, such as "the method 'gem'".
        needs: Its traits.
        offering: What has to offer it, such as "the agent 'ppo'".
        offers: Its traits; None where it declares none.
    """
    missing = _find_missing(needs, offers)
    return missing and f"{needing} needs {missing}, which {offering} does not offer"


def find_refusal(needing: Registry, name: str, offering: Registry, other: str) -> str | None:
    """Why two named things do not go together; None if they do, or it is not declared.

    Args:
        needing: The table of what needs something, such as METHODS.
        name: In that table; several methods may be joined by "+".
        offering: The table of what offers it, such as AGENTS.
        other: In that table.

    Raises:
        UnknownNameError: There is no such name.
        UserError: What is named has to be imported to be judged, and is broken.
    """
    offers = read_offers(offering, other)
    for part in name.split("+"):
        refusal = explain_refusal(
            f"the {needing.kind} '{part}'",
            read_needs(needing, part),
            f"the {offering.kind} '{other}'",
            offers,
        )
        if refusal is not None:
            return refusal
    return None


def read_needs(table: Registry, name: str) -> tuple[Trait, ...]:
    """What `name` needs; of an agent, a method or a method for encoders."""
    needs = _traits(table.declared(name, "needs")) or ()
    if table is ENCODER_METHODS:  # an encoder goes from task to task, whatever the method
        return (*needs, "any frames")
    return needs


def read_offers(table: Registry, name: str) -> tuple[Trait, ...] | None:
    """What `name` offers, an agent, a sequence or an objective; None if it does not tell."""
    offers = _traits(table.declared(name, "offers"))
    if offers is None:
        return None
    if table is AGENTS:  # taken back in a run where the agent learns its encoders
        return (*offers, "networks alone")
    if table is OBJECTIVES and not table.declared(name, "knows_frames"):
        return (*offers, "any frames")
    return offers


def find_partners(table: Registry, name: str, other: Registry) -> Partners:
    """Which of the things in another table go with `name`.

    Args:
        table: Holds `name`.
        name: Of what needs something, or offers it.
        other: Makes one of the `PAIRS` with `table`.
    """
    fitting: list[str] = []
    refused: dict[str, str] = {}
    untold: list[str] = []
    needs_it = (table, other) in PAIRS
    for candidate in other.names():
        pair = (table, name, other, candidate) if needs_it else (other, candidate, table, name)
        try:
            offers = read_offers(*pair[2:])
            missing = _find_missing(read_needs(*pair[:2]), offers)
        except Exception:  # a broken plug-in's
            untold.append(candidate)
            continue
        if missing is not None:
            refused[candidate] = f"missing: {missing}" if needs_it else f"needed: {missing}"
        else:
            (untold if offers is None else fitting).append(candidate)
    return Partners(f"{other.kind}s", tuple(fitting), refused, tuple(untold))


def _find_missing(needs: Sequence[Any], offers: Sequence[Any] | None) -> str | None:
    """The first need that is not offered, in words."""
    missing = [] if offers is None else [trait for trait in needs if trait not in offers]
    return MEANINGS.get(missing[0], str(missing[0])) if missing else None


def _traits(declared: Any) -> tuple[Trait, ...] | None:
    """Traits as they are declared; None for anything else, such as a property of a class."""
    return tuple(declared) if isinstance(declared, (tuple, list, set, frozenset)) else None
