"""Whether the top-level packages `envs` and `agents` are those of this project."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import lifelong_rl
from lifelong_rl.errors import UserError

OURS = {"envs": "batch_env.py", "agents": "sac.py"}
"""Our packages, and a file that tells each from another of the same name."""


def refuse_shadowed() -> None:
    """Raise UserError if another package hides one of ours."""
    for name in OURS:
        problem = shadowed(name)
        if problem:
            raise UserError(problem)


def shadowed(name: str) -> str | None:
    """What is wrong with the package `name`, in one line; None if it is ours."""
    spec = find_spec(name)
    if spec is None:
        return f"the package '{name}' is missing; install lifelong-rl again"
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
    home = Path(lifelong_rl.__file__).resolve().parents[1]
    found = Path(places[0]).resolve()
    ours = found.parent if found.is_file() else found
    if home == ours.parent and (ours / OURS[name]).is_file():
        return None
    return (
        f"the package '{name}' of lifelong-rl is hidden by {found}; rename or uninstall that, "
        "or start from another folder"
    )
