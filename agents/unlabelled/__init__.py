"""Objectives of rows without labels, by name: what `semi-supervised` adds to the loss of the rest.

Each has a file of its own; `UnlabelledObjective` is what they share.
"""

from lifelong_rl.agents.unlabelled.base import Setting, UnlabelledObjective, make
from lifelong_rl.registry import UNLABELLED_OBJECTIVES

__all__ = ["UNLABELLED_OBJECTIVES", "Setting", "UnlabelledObjective", "make"]
