"""Memory aware synapses (Aljundi et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lifelong_rl.continual.consolidation import Consolidation
from lifelong_rl.continual.importance import mas_importance
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.options import Count, NonNegative
from lifelong_rl.registry import METHODS


@METHODS.register("mas")
class MAS(Consolidation):
    """Memory aware synapses: hold parameters in proportion to how they move the output.

    After each task the mean of |∂ ‖f(x)‖² / ∂θ| over its data is added to the importance Ω (eq. 2
    and section 4.1). Later tasks add strength/2 Σ_i Ω_i (θ_i − θ*_i)² to their loss (eq. 3, whose
    λ is strength/2), with θ* the last task's parameters.

    References:
        Aljundi et al. 2018, Memory aware synapses: learning what (not) to forget.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Consolidation.Options):
        """Options of MAS.

        Attributes:
            strength: Weight of the penalty. Continual World's 1e4, which has no ½ in front of it,
                is 2e4 here.
            floor: Least Ω of what tasks share, as much as `EWC`'s.
            samples: Rows of the task's data, drawn uniformly, that Ω is averaged over (Continual
                World: 2560).
            scope: Which components it acts on; Continual World regularises the policy only.
        """

        strength: NonNegative = 1e4
        floor: NonNegative = 1e-7
        samples: Count = 2048

    options: Options

    def importance(self, component: Component, rows: Batch) -> Tensor:
        """Mean magnitude of the gradient of the output's squared length."""
        return flatten(mas_importance(component, rows))
