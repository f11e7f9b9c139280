"""L2: hold every parameter that old tasks use, all alike."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lifelong_rl.continual.consolidation import Consolidation, Quadratic
from lifelong_rl.continual.importance import mas_importance
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.options import Count, NonNegative
from lifelong_rl.registry import METHODS


@METHODS.register("l2")
class L2(Consolidation):
    """L2: hold every parameter where the last task left it, all with the same strength.

    Later tasks add strength/2 Σ_i (θ_i − θ*_i)² to their loss, over the parameters that the
    predictions of an old task depend on; so the heads of later tasks are free until they have been
    learned. It is the baseline of Kirkpatrick et al. 2017, figure 2, and of Continual World.

    References:
        Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks.
        Wolczyk et al. 2021, Continual World, section 4.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Consolidation.Options):
        """Options of L2.

        Attributes:
            strength: Weight of the penalty (Continual World: 1e5).
            samples: Rows of the task's data, drawn uniformly, that tell which parameters it uses.
            scope: Which components it acts on; Continual World regularises the policy only.
        """

        strength: NonNegative = 1e5
        samples: Count = 2048

    options: Options

    def importance(self, component: Component, rows: Batch) -> Tensor:
        """1 where the task's predictions depend on the parameter, else 0."""
        effect = flatten(mas_importance(component, rows))
        return (effect > 0).to(effect.dtype)

    def combine(self, old_tasks: Quadratic, task: Quadratic) -> Quadratic:
        """The last task's parameters only, for all that any task uses."""
        return Quadratic(old_tasks.importance.maximum(task.importance), task.anchor)
