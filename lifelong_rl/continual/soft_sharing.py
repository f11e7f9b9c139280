"""Soft parameter sharing: a network for each task, tied to the earlier ones (Duong et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lifelong_rl.continual.single_task import SingleTask
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.learning.protocols import Batch, Component, Learner, ParamDict, StateTree
from lifelong_rl.networks.separate import SeparateMLP
from lifelong_rl.options import NonNegative
from lifelong_rl.registry import METHODS


@METHODS.register("soft-sharing")
class SoftSharing(SingleTask):
    """Soft sharing: a network for each task, tied by a quadratic to those of the tasks before it.

    Task k learns a network of its own, from scratch, and adds λ/2 ‖θ_k − m_k‖² to its loss, with
    m_k the mean of the networks of the tasks learned so far. But for a constant that is the mean of
    λ/2 ‖θ_k − θ_j‖² over these tasks j, so that a tie is as strong after many tasks as after one.
    With one earlier task it is what Duong et al. 2015 add, who train a parser of a language that
    has much data, and then one of another language with the first as its prior. As there, the
    earlier networks stay as they are, and what differs between tasks by nature is not tied: there
    the embeddings of words, here the heads. Nothing that an old task uses ever changes.

    With λ = 0 this is `single-task`; the larger λ, the nearer it is to learning only a head on the
    mean of the earlier networks. Where it departs from the paper: one λ for all layers, where there
    are two; and the mean, as there is only one other network there.

    See `Preserving` for what a component has beside its networks.

    References:
        Duong et al. 2015, Low resource dependency parsing: cross-lingual parameter sharing in a
        neural network parser, section 3.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SingleTask.Options):
        """Options of SoftSharing.

        Attributes:
            strength: λ (untuned; as much as `l2-init` pulls to the initial parameters, whose 0.01
                has no ½).
        """

        strength: NonNegative = 0.02

    name: ClassVar[str] = "soft-sharing"
    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._learned: list[int] = []
        self._means: dict[str, ParamDict] = {}

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Train the task's network only, and take the mean of the earlier ones.

        Raises:
            UserError: A component has no network of this method.
        """
        super().begin_task(learner, task_id)
        earlier = [k for k in self._learned if k != task_id]
        self._means = {
            name: mean_network(component, earlier, task_id)
            for name, component in self.components(learner).items()
            if earlier
        }

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """λ/2 ‖θ − m‖² for the task's network."""
        mean = self._means.get(component.name)
        if not mean:
            return None
        named = dict(component.module.named_parameters())
        apart = flatten({name: named[name] for name in mean}) - flatten(mean)
        return 0.5 * self.options.strength * apart.dot(apart)

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Count the task's network among those that others are tied to."""
        super().end_task(learner, task_id)
        if task_id not in self._learned:
            self._learned.append(task_id)

    def state_dict(self) -> StateTree:
        """The tasks that were learned; their networks are in the agent."""
        return {**super().state_dict(), "learned": list(self._learned)}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        super().load_state_dict(state)
        self._learned = list(state["learned"])

    def task_state(self) -> StateTree:
        """What the current task's networks are tied to."""
        return {"means": dict(self._means)}

    def load_task_state(self, state: StateTree) -> None:
        """Take over a state made by `task_state`."""
        self._means = {name: dict(mean) for name, mean in state["means"].items()}


def mean_network(component: Component, tasks: list[int], of: int) -> ParamDict:
    """The mean of the networks of some tasks, but for their heads.

    Args:
        component: Has a network for each task.
        tasks: Whose networks.
        of: The task by whose network's parameters, in the component's module, to call the mean's.
    """
    found = {}
    for prefix, network in component.module.named_modules():
        if not isinstance(network, SeparateMLP):
            continue
        for name, _ in network.columns[of].named_parameters():
            if not name.startswith("heads."):
                values = [network.columns[k].get_parameter(name).detach() for k in tasks]
                full = f"{prefix}.columns.{of}.{name}".lstrip(".")
                found[full] = torch.stack(values).mean(dim=0)
    return found
