"""Merging: average what the tasks have made of the parameters, at each switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lifelong_rl.continual.memory import draw_rows
from lifelong_rl.continual.preserving import PROBE_ROWS, shared_parameters
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.parameters import parameters
from lifelong_rl.learning.protocols import Component, Learner, ParamDict, StateTree
from lifelong_rl.options import PositiveShare
from lifelong_rl.registry import METHODS


@METHODS.register("merge")
class Merge(ContinualMethod):
    """Merge: fine-tune on each task, and average its task vector with the earlier ones at its end.

    While a task is learned the network is fine-tuned, nothing is held, and it acts as it is. When
    the task ends, before anything is evaluated, the parameters that tasks share become the mean
    over the tasks so far of what each of them ended at:

        M_1 = θ_1,  M_t = M_(t−1) + (θ_t − M_(t−1)) / t = (θ_1 + … + θ_t) / t.

    M_t is what acts from then on, for all tasks, and what the next task starts from; θ_t is gone.
    So what is measured right after a task is not what it had learned: the task's own head still
    fits θ_t, while the trunk has gone back most of the way.

    A task vector is what a task adds to the parameters that it starts from, τ = θ − θ_start
    (Ilharco et al. 2023, section 2). In the average of the θ_t any common start cancels:
    θ_0 + (τ_1 + … + τ_t) / t = (θ_1 + … + θ_t) / t for τ_i = θ_i − θ_0. It is the merging that
    Matena & Raffel 2022 call isotropic, all parameters alike. Its place in continual learning is
    that of a baseline: Marczak et al. 2024 find that such averages hold up well for large
    pretrained models. Here nothing is pretrained, and of the first task, whose start is random, all
    is kept.

    Where it departs from them: tasks start from the merged parameters, where Ilharco et al. 2023
    start all from one pretrained model and Marczak et al. 2024 each from the last task's own.

    Heads belong to one task each and are not averaged; under one head, that is. What predictions do
    not depend on, as a value function in the policy's component, is left as well, and so is what
    another method has frozen. Networks that follow slowly, such as targets, move alike. A task that
    comes again counts again.

    References:
        Ilharco et al. 2023, Editing models with task arithmetic.
        Matena & Raffel 2022, Merging models with Fisher-weighted averaging.
        Marczak et al. 2024, MagMax: leveraging model merging for seamless continual learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of Merge.

        Attributes:
            share: What a task keeps of its vector, in place of 1/t; null for that, the plain
                average (untuned; Ilharco et al. 2023 tune a coefficient of the sum on held-out
                data). With 1 nothing is merged, and with a share below it old tasks fade.
        """

        share: PositiveShare | None = None

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._merged: dict[str, ParamDict] = {}
        self._ended = 0

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Go back to the average of the tasks so far."""
        self._ended += 1
        if self._ended == 1:
            rows = draw_rows(learner.task_data(), PROBE_ROWS)
            for name, component in self.components(learner).items():
                shared = set(shared_parameters(component, rows))
                self._merged[name] = {
                    key: value for key, value in parameters(component).items() if key in shared
                }
            return
        share = self.options.share or 1 / self._ended
        for name, component in self.components(learner).items():
            self._merged[name] = move_towards(component, self._merged[name], share)

    def state_dict(self) -> StateTree:
        """The merged parameters of each component, and how many tasks they are the mean of."""
        return {"merged": dict(self._merged), "ended": self._ended}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._merged = {name: dict(values) for name, values in state["merged"].items()}
        self._ended = state["ended"]

    def task_state(self) -> StateTree:
        """Nothing: it changes at the ends of tasks only."""
        return {}


@torch.no_grad()
def move_towards(component: Component, merged: ParamDict, share: float) -> ParamDict:
    """Take parameters back to `merged` but for a share of the way that they have come from there.

    Args:
        component: Holds the parameters; those that are frozen stay, and followers go alike.
        merged: By name.
        share: In (0, 1].

    Returns:
        What they are now.
    """
    found = dict(merged)
    for name, before in merged.items():
        own = component.module.get_parameter(name)
        if not own.requires_grad:
            continue
        for module in (component.module, *getattr(component, "followers", ())):
            parameter = module.get_parameter(name)
            parameter.copy_(before.lerp(parameter, share))
        found[name] = own.detach().clone()
    return found
