"""A fresh network for each task: the reference without forgetting and without transfer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lifelong_rl.continual.preserving import Preserving, networks_of, train_only
from lifelong_rl.learning.protocols import Learner
from lifelong_rl.networks.separate import SeparateMLP
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import Scope
from lifelong_rl.registry import METHODS


@METHODS.register("single-task")
class SingleTask(Preserving):
    """Learn each task with a network of its own, from scratch.

    The baseline of forward transfer, and the plasticity that others are measured against. What a
    component has beside its networks is treated as `Preserving` tells.

    Attributes:
        name: What errors call it.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Preserving.Options):
        """Options of SingleTask.

        Attributes:
            scope: Which components it acts on: the networks that the agent is evaluated by
                (policy), those that only help learning (value), or both (untuned: nothing
                is shared).
        """

        scope: Scope = "both"

    name: ClassVar[str] = "single-task"

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network for each task."""
        return SeparateMLP(spec)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Train the task's network only.

        Raises:
            UserError: A component has no network of this method.
        """
        super().begin_task(learner, task_id)
        for component in self.components(learner).values():
            for network in networks_of(component, SeparateMLP, self.name):
                train_only(task_id, network.columns)
