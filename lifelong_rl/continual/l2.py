"""L2: hold every parameter that tasks share, all alike."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lifelong_rl.continual.consolidation import Consolidation, Quadratic
from lifelong_rl.continual.preserving import PROBE_ROWS
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.options import Count, NonNegative
from lifelong_rl.registry import METHODS


@METHODS.register("l2")
class L2(Consolidation):
    """L2: hold every parameter that tasks share where the last task left it, all alike.

    Later tasks add strength/2 Σ_i (θ_i − θ*_i)² to their loss, over all parameters that the
    predictions of several tasks depend on: not over heads, which belong to one task each. It is the
    baseline of Kirkpatrick et al. 2017, figure 2, and of Continual World.

    References:
        Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks.
        Wolczyk et al. 2021, Continual World, section 4.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Consolidation.Options):
        """Options of L2.

        Attributes:
            strength: Weight of the penalty. Continual World's 1e5, which has no ½ in front of it,
                is 2e5 here.
            scope: Which components it acts on; Continual World regularises the policy only.
        """

        strength: NonNegative = 1e5
        floor: NonNegative = field(default=1.0, init=False)
        samples: Count = field(default=PROBE_ROWS, init=False)

    options: Options

    def importance(self, component: Component, rows: Batch) -> Tensor:
        """None beside the floor."""
        return torch.zeros_like(flatten(dict(component.module.named_parameters())))

    def combine(self, old_tasks: Quadratic, task: Quadratic) -> Quadratic:
        """The last task's parameters only."""
        return task
