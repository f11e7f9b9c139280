"""Averaged gradient episodic memory, A-GEM (Chaudhry et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from lifelong_rl.continual.memory import MemoryMethod
from lifelong_rl.continual.projection import project_agem
from lifelong_rl.learning.parameters import flatten, loss_gradient, unflatten
from lifelong_rl.learning.protocols import Component, ParamDict
from lifelong_rl.options import Count
from lifelong_rl.registry import METHODS


@METHODS.register("agem")
class AGEM(MemoryMethod):
    """A-GEM: never step against the gradient of the loss on a memory of old tasks.

    A gradient that would increase the loss on a sample of the memory is projected onto the nearest
    one that does not (eq. 11). What the optimizer makes of it, with momentum and per-parameter
    scales, is outside the guarantee, in the paper too.

    Each component is projected by itself, against the gradient of its own loss on the memory.
    Continual World projects the gradients of actor and critics as one vector, so that a conflict of
    one can be made up for by the other, and weighs more the larger its gradients are. Here that
    cannot be: the critic has stepped when the actor's gradient is computed. Nor is it needed, since
    the loss of each is to be kept.

    References:
        Chaudhry et al. 2019, Efficient lifelong learning with A-GEM, algorithm 2 and eq. 11.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(MemoryMethod.Options):
        """Options of AGEM.

        Attributes:
            per_task: Rows kept of each task (Continual World: 10 000).
            batch_size: Rows of the memory, evenly over the old tasks, that the reference gradient
                is computed on at every step (Continual World: 128).
        """

        per_task: Count = 10_000
        batch_size: Count = 128

    options: Options

    def transform_gradient(self, component: Component, grads: ParamDict) -> ParamDict:
        """Project the gradient if it conflicts with that of the old tasks."""
        if not self.memory.num_tasks:
            return grads
        reference = loss_gradient(component, self.memory.sample(self.options.batch_size))
        return unflatten(project_agem(flatten(grads), flatten(reference)), grads)
