"""Elastic weight consolidation, offline and online."""

from __future__ import annotations

from torch import Tensor

from lifelong_rl.continual.consolidation import Consolidation, Quadratic
from lifelong_rl.continual.importance import fisher_diagonal
from lifelong_rl.learning.method import Scope
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.registry import METHODS


@METHODS.register("ewc")
class EWC(Consolidation):
    """Elastic weight consolidation: hold parameters in proportion to their Fisher information.

    After each task the Fisher information F of the component's predictions is computed at the
    learned parameters θ*. Later tasks add strength/2 Σ_k Σ_i F_k,i (θ_i − θ*_k,i)² to their loss:
    the sum over all old tasks k (offline; Kirkpatrick et al. 2017, eq. 3), or one term with the
    decayed sum Σ_k γ^(K−k) F_k at the last task's parameters (online; Schwarz et al. 2018).
    The offline sum is kept as one quadratic, so memory and time do not grow with the tasks.

    Args:
        strength: λ. Continual World uses 1e4.
        decay: γ in [0, 1] of the online form; None for the offline form.
        samples: Rows of the task's data, drawn uniformly, that F is averaged over.
        scope: See `ContinualMethod`. Continual World regularises the policy only.

    Raises:
        ValueError: An option outside its range.

    References:
        Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks.
        Schwarz et al. 2018, Progress & compress: a scalable framework for continual learning.
        Huszár 2018, Note on the quadratic penalties in elastic weight consolidation.
    """

    def __init__(
        self,
        *,
        strength: float = 1e4,
        decay: float | None = None,
        samples: int = 2048,
        scope: Scope = "policy",
    ) -> None:
        super().__init__(strength=strength, samples=samples, scope=scope)
        if decay is not None and not 0 <= decay <= 1:
            raise ValueError(f"decay must be in [0, 1], or None for offline EWC, not {decay}")
        self.decay = decay

    def importance(self, component: Component, rows: Batch) -> Tensor:
        """Diagonal of the Fisher information."""
        return flatten(fisher_diagonal(component, rows))

    def combine(self, old_tasks: Quadratic, task: Quadratic) -> Quadratic:
        """The exact sum (offline), or the decayed one at the last parameters (online)."""
        if self.decay is None:
            return old_tasks + task
        return Quadratic(self.decay * old_tasks.importance + task.importance, task.anchor)
