"""C-CHAIN: less churn (Tang et al. 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lifelong_rl.continual.distributions import outputs
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree, StepRecord
from lifelong_rl.options import Count, NonNegative, Scope
from lifelong_rl.registry import METHODS


@METHODS.register("c-chain")
class CChain(ContinualMethod):
    """C-CHAIN: let a step change no predictions but those on its own batch.

    The churn of a step is what it changes on rows that are not in its batch. Each step's loss gets
    λ times the churn of the step before it (Tang et al. 2025, following Tang & Berseth 2024): the
    mean square of f_θ(x) − f_before(x) over reference rows x and outputs f, with f_before those
    before that step. Outputs are values, means and log standard deviations of actions, and log
    probabilities of classes. λ is set so that the penalty is a given share of the loss:
    share · mean |loss| / mean churn, over the latest steps of the task.

    Methods are not shown the learner's buffer. The reference rows are therefore those of an earlier
    batch of the same component: neither of the batch of the step whose churn it is, nor of the one
    that is stepped on now. Learners draw batches independently of each other, so a row may be in
    two by chance; PPO draws none twice within an epoch.

    Departures: log standard deviations count, which the authors' code leaves out, and λ is adapted
    from the third step on, where that begins with a constant. PPO's component predicts its policy
    alone, so there the value function's churn is left, as in that code. The squares are not
    replaced by the KL divergence of other methods here: between two steps that is smaller than the
    rounding of its terms.

    References:
        Tang et al. 2025, Mitigating plasticity loss in continual reinforcement learning by reducing
        churn.
        Tang & Berseth 2024, Improving deep reinforcement learning by reducing the chain effect of
        value and policy churn.
    """

    needs_boundaries: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of CChain.

        Attributes:
            share: Of the loss that the penalty is to be (authors' code: 0.05 with PPO on
                continuous control).
            window: Steps that the means are taken over, which weigh less the longer they are ago
                (authors' code: 100 of its iterations; here of steps).
            scope: Which components it acts on: the networks that the agent is evaluated by
                (policy), those that only help learning (value), or both (Tang & Berseth 2024
                reduce both churns).
        """

        share: NonNegative = 0.05
        window: Count = 100
        scope: Scope = "both"

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._batches: dict[str, Batch] = {}
        self._references: dict[str, Batch] = {}
        self._means: dict[str, dict[str, float]] = {}

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Forget the rows and means of another task."""
        self._batches, self._references, self._means = {}, {}, {}

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """λ times the mean (now − before)² on the reference rows, and take the next ones."""
        name, inputs = component.name, component.inputs
        reference, earlier = self._references.get(name), self._batches.get(name)
        if earlier is not None:
            with torch.no_grad():
                self._references[name] = earlier | {KEPT: outputs(component.predict(earlier))}
        self._batches[name] = {key: batch[key].detach().clone() for key in inputs}
        if reference is None:
            return None
        now = outputs(component.predict({key: reference[key] for key in inputs}))
        churn = (now - reference[KEPT]).square().mean()
        means = self._means[name]
        self._count(means, "churn", churn.item())
        return self.options.share * means["loss"] / (means["churn"] + TINY) * churn

    def after_step(self, component: Component, step: StepRecord) -> None:
        """Count the loss."""
        self._count(self._means.setdefault(component.name, {}), "loss", abs(step.loss))

    def task_state(self) -> StateTree:
        """The rows of the last batch, the reference rows with their outputs, and the means."""
        return {
            "batches": {name: dict(rows) for name, rows in self._batches.items()},
            "references": {name: dict(rows) for name, rows in self._references.items()},
            "means": {name: dict(means) for name, means in self._means.items()},
        }

    def load_task_state(self, state: StateTree) -> None:
        """Take over a state made by `task_state`."""
        self._batches = {name: dict(rows) for name, rows in state["batches"].items()}
        self._references = {name: dict(rows) for name, rows in state["references"].items()}
        self._means = {name: dict(means) for name, means in state["means"].items()}

    def _count(self, means: dict[str, float], quantity: str, value: float) -> None:
        """Move a mean towards a value; the first value is the mean."""
        mean = means.get(quantity, value)
        means[quantity] = mean + (value - mean) / self.options.window


KEPT = "outputs before the step"
TINY = 1e-8  # as in the authors' code
