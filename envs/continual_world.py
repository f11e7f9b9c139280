"""Continual World's sequences of Meta-World tasks (Wolczyk et al. 2021).

``cw10``, ``cw20`` and ``cw5`` learn from rewards of version v2 and observe all that Meta-World
shows. With options behind a colon, joined by commas, they do otherwise: ``cw10:v1,short`` is
Continual World's own setting, rewards of version v1 and 12 numbers in an observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lifelong_rl.envs.streams import Stream, parse_stream
from lifelong_rl.errors import UserError, lookup
from lifelong_rl.registry import SEQUENCE_MAKERS, SEQUENCES

CW10_TASKS = (
    "hammer-v3",
    "push-wall-v3",
    "faucet-close-v3",
    "push-back-v3",
    "stick-pull-v3",
    "handle-press-side-v3",
    "push-v3",
    "shelf-place-v3",
    "window-close-v3",
    "peg-unplug-side-v3",
)
"""In the order of the paper; CW20 is the ten twice."""
CW5_TASKS = (
    "faucet-close-v3",
    "handle-press-side-v3",
    "push-v3",
    "window-close-v3",
    "peg-unplug-side-v3",
)
"""The five of CW10 that SAC learns soonest, in the same order; see docs/metaworld.md."""
OPTIONS = {
    "v1": {"reward": "v1"},
    "v2": {"reward": "v2"},
    "full": {"observation": "full"},
    "short": {"observation": "short"},
}
"""What may stand behind the colon, and what it sets of a `MetaWorldTask`."""


def continual_world(
    name: str, description: str, tasks: Sequence[str], steps: int, **setting: Any
) -> Stream:
    """Return a sequence of tasks of Meta-World, each with a head of its own.

    Args:
        name: of the sequence.
        description: one line.
        tasks: their names in Meta-World; one that comes again is another task, as in CW20.
        steps: environment steps of each.
        **setting: of all tasks, see `lifelong_rl.envs.metaworld.MetaWorldTask`.

    Raises:
        UserError: a value is not allowed.
    """
    phases = []
    for k, task in enumerate(tasks):
        before = tasks[:k].count(task)
        label = f"{task}-{before + 1}" if before else task
        phases.append({"env": {"kind": "metaworld", "id": task, **setting}, "label": label})
    return parse_stream(
        {"name": name, "description": description, "steps": steps, "phases": phases}
    )


CW5 = SEQUENCES.register("cw5")(
    continual_world(
        "cw5",
        "five of Continual World's ten tasks that are learned soonest, 100 000 steps each "
        "(needs Meta-World)",
        CW5_TASKS,
        steps=100_000,
    )
)

CW10 = SEQUENCES.register("cw10")(
    continual_world(
        "cw10",
        "Continual World's ten tasks of Meta-World, a million steps each (needs Meta-World)",
        CW10_TASKS,
        steps=1_000_000,
    )
)

CW20 = SEQUENCES.register("cw20")(
    continual_world(
        "cw20",
        "Continual World's ten tasks twice over, as twenty tasks, a million steps each (needs "
        "Meta-World)",
        2 * CW10_TASKS,
        steps=1_000_000,
    )
)


@SEQUENCE_MAKERS.register("cw5")
def make_cw5(options: str) -> Stream:
    """Return `CW5` with options, see `make_variant`."""
    return make_variant(CW5, options)


@SEQUENCE_MAKERS.register("cw10")
def make_cw10(options: str) -> Stream:
    """Return `CW10` with options, see `make_variant`."""
    return make_variant(CW10, options)


@SEQUENCE_MAKERS.register("cw20")
def make_cw20(options: str) -> Stream:
    """Return `CW20` with options, see `make_variant`."""
    return make_variant(CW20, options)


def make_variant(stream: Stream, options: str) -> Stream:
    """Return a sequence in another setting.

    Args:
        stream: one of those above.
        options: names in `OPTIONS`, joined by commas.

    Raises:
        UserError: there is no such option, or two set the same.
    """
    name = f"{stream.name}:{options}"
    setting: dict[str, Any] = {}
    for option in options.split(","):
        found = lookup(f"option of {stream.name}", option, OPTIONS, see="")
        if found.keys() & setting.keys():
            raise UserError(f"the sequence '{name}' sets {', '.join(found)} twice")
        setting |= found
    placed = {
        label: replace(one, task=replace(one.task, **setting))
        for label, one in stream.placed.items()
    }
    return replace(stream, name=name, placed=placed)
