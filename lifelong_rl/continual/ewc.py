"""Elastic weight consolidation, offline and online."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lifelong_rl.continual.consolidation import Consolidation, Quadratic
from lifelong_rl.continual.importance import fisher_diagonal
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.options import Count, NonNegative, Share
from lifelong_rl.registry import METHODS


@METHODS.register("ewc")
class EWC(Consolidation):
    """Elastic weight consolidation: hold parameters in proportion to their Fisher information.

    After each task the Fisher information F of the component's predictions is computed at the
    learned parameters θ*. Later tasks add strength/2 Σ_k Σ_i F_k,i (θ_i − θ*_k,i)² to their loss:
    the sum over all old tasks k (offline; Kirkpatrick et al. 2017, eq. 3), or one term with the
    decayed sum Σ_k γ^(K−k) F_k at the last task's parameters (online; Schwarz et al. 2018).
    The offline sum is kept as one quadratic, so memory and time do not grow with the tasks.

    References:
        Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks.
        Schwarz et al. 2018, Progress & compress: a scalable framework for continual learning.
        Huszár 2018, Note on the quadratic penalties in elastic weight consolidation.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Consolidation.Options):
        """Options of EWC.

        Attributes:
            strength: λ. Continual World's 1e4, which has no ½ in front of it, is 2e4 here.
            floor: Least F of what tasks share. Continual World's 1e-5 is too much for some
                runs: `arm3` with `bc`, seed 1, ends at 1.00, .88, 1.00 with it, at 0.00, 1.00,
                1.00 without, and at 1.00, 1.00, 1.00 with 1e-7.
            decay: γ in [0, 1] of the online form; null for the offline form (Kirkpatrick et al.
                2017). Continual World's is 1: the sum of all F, at the last parameters alone.
            samples: Rows of the task's data, drawn uniformly, that F is averaged over (Continual
                World: 2560).
            scope: Which components it acts on; Continual World regularises the policy only.
        """

        strength: NonNegative = 1e4
        floor: NonNegative = 1e-7
        decay: Share | None = None
        samples: Count = 2048

    options: Options

    def importance(self, component: Component, rows: Batch) -> Tensor:
        """Diagonal of the Fisher information."""
        return flatten(fisher_diagonal(component, rows))

    def combine(self, old_tasks: Quadratic, task: Quadratic) -> Quadratic:
        """The exact sum (offline), or the decayed one at the last parameters (online)."""
        if self.options.decay is None:
            return old_tasks + task
        return Quadratic(self.options.decay * old_tasks.importance + task.importance, task.anchor)
