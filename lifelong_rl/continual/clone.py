"""Behavioural cloning of the old tasks' predictions, as in ClonEx (Wolczyk et al. 2022)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from lifelong_rl.continual.distillation import adapt
from lifelong_rl.continual.distributions import from_tensors, to_tensors
from lifelong_rl.continual.memory import EpisodicMemory, draw_rows
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree
from lifelong_rl.options import Count, NonNegative
from lifelong_rl.registry import METHODS


@METHODS.register("clone")
class Clone(ContinualMethod):
    """Behavioural cloning: keep predicting on rows of old tasks what was predicted at their end.

    After each task, rows of its data are kept together with what the component predicts for
    them. Later tasks add strength · E_x KL(p_kept(x) ‖ p_θ(x)) to their loss, with x drawn evenly
    over the old tasks. For values, predicted as Normal(Q, 1), that is half a squared error. Only
    `predict` is asked, so this serves learners whose loss does not hold for old rows.

    The paper's ClonEx also begins tasks with old heads and clips gradients, which are options of
    off-policy agents, `explore` and `max_grad_norm`; the preset `clonex` has all three.

    References:
        Wolczyk et al. 2022, Disentangling transfer in continual reinforcement learning.
        Tang et al. 2019, Learning efficient detector with semi-supervised adaptive distillation.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of Clone.

        Attributes:
            strength: Weight of the penalty (Continual World: 100).
            per_task: Rows kept of each task, a uniform sample (Continual World: 10 000).
            batch_size: Rows of the memory in each penalty (Continual World: 128).
            gamma: γ of adaptive distillation, as that of `lwf` (untuned: off).
            beta: β of adaptive distillation, as that of `lwf` (untuned).
            scope: Which components it acts on (Continual World: the policy alone).
        """

        strength: NonNegative = 100.0
        per_task: Count = 10_000
        batch_size: Count = 128
        gamma: NonNegative = 0.0
        beta: NonNegative = 0.0

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._memories: defaultdict[str, EpisodicMemory] = defaultdict(
            partial(EpisodicMemory, self.options.per_task)
        )

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """Strength · mean KL(kept ‖ current) on a sample of the memory."""
        if component.name not in self._memories:
            return None
        rows = self._memories[component.name].sample(self.options.batch_size)
        kept = from_tensors({k: v for k, v in rows.items() if k not in component.inputs})
        divergence = kl_divergence(kept, component.predict(rows))
        weighed = adapt(divergence, kept, self.options.gamma, self.options.beta)
        return self.options.strength * weighed.mean()

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Keep rows of the task's data and what each component predicts for them."""
        rows = draw_rows(learner.task_data(), self.options.per_task)
        for name, component in self.components(learner).items():
            inputs = {key: rows[key] for key in component.inputs}
            with torch.no_grad():
                kept = to_tensors(component.predict(inputs))
            self._memories[name].add_task([inputs | kept])

    def state_dict(self) -> StateTree:
        """The memory of each component."""
        return {name: memory.state_dict() for name, memory in self._memories.items()}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._memories.clear()
        for name, memory in state.items():
            self._memories[name].load_state_dict(memory)

    def task_state(self) -> StateTree:
        """Nothing: it changes at the ends of tasks only."""
        return {}
