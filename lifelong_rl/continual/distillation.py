"""Distillation from the network as it was after the last task: what its methods share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, kl_divergence

from lifelong_rl.continual.functional import call_with
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Component, Learner, ParamDict, StateTree
from lifelong_rl.options import NonNegative, Positive


class Distillation(ContinualMethod, ABC):
    """Base of the methods that learn to predict what the network of the last task predicts.

    Later tasks add strength · E_x KL(p_old(x) ‖ p_θ(x)) to their loss, with p_old that of the
    parameters after the last task. Subclasses say which rows x are.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of these methods.

        Attributes:
            strength: Weight of the penalty.
            temperature: T of categorical predictions, both of which become softmax(logits / T);
                other predictions have none.
            gamma: γ of adaptive distillation, which weighs each row by the student's error there;
                0 for equal weights (untuned: off; Tang et al. 2019, in their code: 2).
            beta: β, how much the entropy of the teacher's categorical prediction adds to the error
                that a row is weighed by (untuned: the student's error alone).
        """

        strength: NonNegative
        temperature: Positive
        gamma: NonNegative = 0.0
        beta: NonNegative = 0.0

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self.num_old_tasks = 0
        self._teachers: dict[str, ParamDict] = {}

    @abstractmethod
    def rows(self, component: Component, batch: Batch) -> Batch:
        """The component's inputs that its predictions are compared on, as rows of old tasks.

        Args:
            component: Predicts.
            batch: Rows of the current task.
        """

    def draw_old_tasks(self, n: int, device: torch.device) -> Tensor:
        """An old task for each of `n` rows, (n,) of int64 on a device, uniformly."""
        return torch.randint(self.num_old_tasks, (n,), device=device)

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """Strength · mean KL(old ‖ current)."""
        teacher = self._teachers.get(component.name)
        if teacher is None:
            return None
        with torch.no_grad():
            rows = self.rows(component, batch)
            old = call_with(component, teacher, component.predict, rows)
        old, new = (
            soften(each, self.options.temperature) for each in (old, component.predict(rows))
        )
        weighed = adapt(kl_divergence(old, new), old, self.options.gamma, self.options.beta)
        return self.options.strength * weighed.mean()

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Keep a copy of each component's parameters."""
        self.num_old_tasks = task_id + 1
        for name, component in self.components(learner).items():
            self._teachers[name] = {
                key: value.detach().clone() for key, value in component.module.named_parameters()
            }

    def state_dict(self) -> StateTree:
        """The copies of the parameters."""
        return {"num_old_tasks": self.num_old_tasks, "teachers": dict(self._teachers)}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self.num_old_tasks = state["num_old_tasks"]
        self._teachers = dict(state["teachers"])

    def task_state(self) -> StateTree:
        """Nothing: it changes at the ends of tasks only."""
        return {}


LEAST_WEIGHT = 1e-12
"""Of a row, before the power: below, the gradient of a power under 1 has no bound."""


def adapt(divergence: Tensor, teacher: Distribution, gamma: float, beta: float) -> Tensor:
    """Weigh each row's divergence by the student's error there: adaptive distillation.

    (1 − exp(−(KL + β H)))^γ KL, with KL the row's divergence and H the entropy of the teacher's
    prediction: rows that the student tells as its teacher does count less the larger γ is, and
    those of which the teacher is unsure count more the larger β is. The weight is differentiated
    too. H is that of categorical predictions; others are weighed by their divergence alone.

    Args:
        divergence: KL of each row, (n,).
        teacher: Its predictions for the rows.
        gamma: γ, at least 0; with 0 `divergence` comes back.
        beta: β, at least 0.

    References:
        Tang et al. 2019, Learning efficient detector with semi-supervised adaptive distillation.
    """
    if gamma == 0:
        return divergence
    error = divergence
    if beta and isinstance(teacher, Categorical):
        error = error + beta * teacher.entropy()  # type: ignore[no-untyped-call]
    weight: Tensor = -torch.expm1(-error)
    return weight.clamp(min=LEAST_WEIGHT).pow(gamma) * divergence


def soften(prediction: Distribution, temperature: float) -> Distribution:
    """A categorical prediction at a temperature; any other comes back as it is."""
    if temperature == 1 or not isinstance(prediction, Categorical):
        return prediction
    return Categorical(logits=prediction.logits / temperature, validate_args=False)
