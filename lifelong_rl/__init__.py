"""Continual reinforcement learning on MuJoCo manipulation, next to its supervised twin."""

import sys
from importlib import import_module
from time import perf_counter

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
