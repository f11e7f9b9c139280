"""Fine-tuning: the sequence is learned with nothing done against forgetting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.options import Scope
from lifelong_rl.registry import ENCODER_METHODS, METHODS


@METHODS.register("finetune")
@ENCODER_METHODS.register("finetune")
class Finetune(ContinualMethod):
    """Learn each task from where the last one ended; the lower reference of every table."""

    needs_boundaries: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """It has no options: there is nothing that it acts on."""

        scope: Scope = field(default="policy", init=False)
