"""Options of methods that files of earlier versions hold, as this version has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WITHOUT_EFFECT = {"finetune": ("scope",), "joint": ("scope",), "l2": ("samples",)}
"""Options that decided nothing, or decide nothing now, by method: they are left out."""
BEFORE = {"ewc": {"floor": 0.0}, "mas": {"floor": 0.0}}
"""Options that came later, by method: what a run did that did not have them."""


def update_fields(fields: Mapping[str, Any], *, complete: bool = False) -> dict[str, Any]:
    """The fields of a run with the options of its method as they are now.

    Args:
        fields: By their names in `RunConfig`; those of another kind stay as they are.
        complete: Whether all options stand in it, as in the folder of a run: those that came later
            then are what they were before.
    """
    method, options = fields.get("method"), fields.get("method_options")
    if not isinstance(method, str) or not isinstance(options, Mapping):
        return dict(fields)
    return {**fields, "method_options": update_options(method, options, complete=complete)}


def update_options(
    method: str, options: Mapping[str, Any], *, complete: bool = False
) -> dict[str, Any]:
    """The options of a method, or of several joined by "+", as they are now.

    Args:
        method: Its name.
        options: By name; those of a chain by "METHOD.OPTION".
        complete: See `update_fields`.
    """
    updated = dict(options)
    parts = method.split("+")
    for part in parts:
        prefix = f"{part}." if len(parts) > 1 else ""
        for option in WITHOUT_EFFECT.get(part, ()):
            updated.pop(prefix + option, None)
        if complete and any(str(name).startswith(prefix) for name in updated):
            for option, value in BEFORE.get(part, {}).items():
                updated.setdefault(prefix + option, value)
    return updated
