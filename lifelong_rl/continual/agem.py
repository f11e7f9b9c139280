"""Averaged gradient episodic memory, A-GEM (Chaudhry et al. 2019)."""

from __future__ import annotations

from lifelong_rl.continual.memory import MemoryMethod
from lifelong_rl.continual.projection import project_agem
from lifelong_rl.learning.method import Scope
from lifelong_rl.learning.parameters import flatten, loss_gradient, unflatten
from lifelong_rl.learning.protocols import Component, ParamDict
from lifelong_rl.registry import METHODS


@METHODS.register("agem")
class AGEM(MemoryMethod):
    """A-GEM: never step against the gradient of the loss on a memory of old tasks.

    A gradient that would increase the loss on a sample of the memory is projected onto the nearest
    one that does not (eq. 11). What the optimizer makes of it, with momentum and per-parameter
    scales, is outside the guarantee, in the paper too.

    Args:
        per_task: Rows kept of each task (Continual World: 10 000).
        batch_size: Rows of the memory, evenly over the old tasks, that the reference gradient is
            computed on at every step.
        scope: See `ContinualMethod`.

    Raises:
        ValueError: A size below 1.

    References:
        Chaudhry et al. 2019, Efficient lifelong learning with A-GEM, algorithm 2 and eq. 11.
    """

    def __init__(
        self, *, per_task: int = 10_000, batch_size: int = 128, scope: Scope = "both"
    ) -> None:
        super().__init__(per_task=per_task, scope=scope)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.batch_size = batch_size

    def transform_gradient(self, component: Component, grads: ParamDict) -> ParamDict:
        """Project the gradient if it conflicts with that of the old tasks."""
        if not self.memory.num_tasks:
            return grads
        reference = loss_gradient(component, self.memory.sample(self.batch_size))
        return unflatten(project_agem(flatten(grads), flatten(reference)), grads)
