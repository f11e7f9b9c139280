"""Gradient episodic memory, GEM (Lopez-Paz & Ranzato 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lifelong_rl.continual.memory import MemoryMethod
from lifelong_rl.continual.projection import project_gem
from lifelong_rl.learning.parameters import flatten, loss_gradient, unflatten
from lifelong_rl.learning.protocols import Component, ParamDict
from lifelong_rl.options import Count, NonNegative
from lifelong_rl.registry import METHODS


@METHODS.register("gem")
class GEM(MemoryMethod):
    """GEM: never step against the gradient of the loss on the memory of any old task.

    A gradient that would increase the loss on a sample of an old task's memory is replaced by the
    nearest one that increases none of them (section 3). Every old task costs one more gradient
    at every step. What the optimizer makes of the result, with momentum and per-parameter scales,
    is outside the guarantee, in the paper too.

    References:
        Lopez-Paz & Ranzato 2017, Gradient episodic memory for continual learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(MemoryMethod.Options):
        """Options of GEM.

        Attributes:
            per_task: Rows kept of each task, as many as `AGEM` keeps by default.
            batch_size: Rows of each old task's memory that its reference gradient is computed on at
                every step, as many as `AGEM` uses by default. The paper takes all of its 256.
            margin: γ, the least weight of every reference once there is a conflict. At 0 it is the
                method of the paper's section 3, which only projects. Above 0, as in the paper's
                experiments (0.5), every conflict adds γ times each old task's gradient, which
                learns the old tasks again, as replay does: on `arm3` with `sac`, seeds 0 to 2,
                reach ends at .48, .50, .38 with 0 (docs/results/method_checks.json), and all tasks
                at .98 in the mean with 0.5 (docs/results/first_study.json).
        """

        per_task: Count = 10_000
        batch_size: Count = 128
        margin: NonNegative = 0.0

    options: Options

    def transform_gradient(self, component: Component, grads: ParamDict) -> ParamDict:
        """Project the gradient if it conflicts with that of any old task."""
        if not self.memory.num_tasks:
            return grads
        samples = (
            self.memory.sample_task(task, self.options.batch_size)
            for task in range(self.memory.num_tasks)
        )
        references = torch.stack([flatten(loss_gradient(component, rows)) for rows in samples])
        return unflatten(project_gem(flatten(grads), references, self.options.margin), grads)
