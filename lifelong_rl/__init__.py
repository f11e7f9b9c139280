"""Continual reinforcement learning on MuJoCo manipulation, next to its supervised twin."""

import sys
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lifelong_rl.api import RunResult, load_runs, run

__all__ = ["RunResult", "__version__", "load_runs", "run"]
__version__ = "0.1.0"
IMPORTED = perf_counter()
"""When this was imported, which a program does before it imports what takes seconds."""


def _import_pythons_random() -> None:
    """Import Python's `random`, even where the working directory has a file of that name.

    A script and `python -c` search their own folder first, and NumPy and torch import `random`.
    """
    if sys.flags.safe_path:
        return
    first = sys.path.pop(0)
    try:
        import_module("random")
    finally:
        sys.path.insert(0, first)


_import_pythons_random()


def __getattr__(name: str) -> object:
    """Import the public functions, which takes a second, only when they are asked for."""
    if name in __all__:
        return getattr(import_module("lifelong_rl.api"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'", name=name)


def __dir__() -> list[str]:
    """The public names too, for completion."""
    return sorted({*globals(), *__all__})
