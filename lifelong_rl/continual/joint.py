"""Joint learning of all tasks: the upper reference of every table."""

from __future__ import annotations

from dataclasses import dataclass, field

from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.options import Scope
from lifelong_rl.registry import ENCODER_METHODS, METHODS


@METHODS.register("joint")
@ENCODER_METHODS.register("joint")
class Joint(ContinualMethod):
    """Learn all tasks at once, interleaved, for as many steps as the sequence has in all.

    There is one phase for each task of the sequence, with its budget, so that the table has the
    same rows; but in every phase the environments are of all tasks. Replay buffer and optimizers
    are kept from phase to phase (agent options `reset_buffer` and `reset_optimizers`, unless they
    are given). Each phase begins with the random steps that a task begins with, so the number of
    updates is that of every other method too.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """It has no options: there is nothing that it acts on."""

        scope: Scope = field(default="policy", init=False)

    interleaves = True
