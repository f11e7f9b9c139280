"""Memory aware synapses (Aljundi et al. 2018)."""

from __future__ import annotations

from torch import Tensor

from lifelong_rl.continual.consolidation import Consolidation
from lifelong_rl.continual.importance import mas_importance
from lifelong_rl.learning.method import Scope
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.registry import METHODS


@METHODS.register("mas")
class MAS(Consolidation):
    """Memory aware synapses: hold parameters in proportion to how they move the output.

    After each task the mean of |∂ ‖f(x)‖² / ∂θ| over its data is added to the importance Ω (eq. 2
    and section 4.1). Later tasks add strength/2 Σ_i Ω_i (θ_i − θ*_i)² to their loss (eq. 3, whose
    λ is strength/2), with θ* the last task's parameters.

    Args:
        strength: Weight of the penalty (Continual World: 1e4).
        samples: Rows of the task's data, drawn uniformly, that Ω is averaged over.
        scope: See `ContinualMethod`. Continual World regularises the policy only.

    Raises:
        ValueError: An option outside its range.

    References:
        Aljundi et al. 2018, Memory aware synapses: learning what (not) to forget.
    """

    def __init__(
        self, *, strength: float = 1e4, samples: int = 2048, scope: Scope = "policy"
    ) -> None:
        super().__init__(strength=strength, samples=samples, scope=scope)

    def importance(self, component: Component, rows: Batch) -> Tensor:
        """Mean magnitude of the gradient of the output's squared length."""
        return flatten(mas_importance(component, rows))
