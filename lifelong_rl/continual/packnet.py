"""PackNet: prune after each task and give what is free to the next (Mallya & Lazebnik 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lifelong_rl.continual.preserving import Preserving, freeze, networks_of
from lifelong_rl.continual.retraining import rehearse_share
from lifelong_rl.learning.protocols import Component, Learner, ParamDict, StateTree
from lifelong_rl.networks.packnet import PackNetMLP
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import NonNegative
from lifelong_rl.registry import METHODS


@METHODS.register("packnet")
class PackNet(Preserving):
    """PackNet: tasks own the weights of one network, and read those of the tasks before them.

    A task learns with all weights that are free. When it ends, the smallest of them in each layer
    are freed again, at zero, so that it keeps 1 / (num_tasks − k) of those it had, the same number
    for every task k (from 0; Wolczyk et al. 2021); then it learns on with what it has kept. Biases
    and normalisation are learned in the first task only, heads belong to their tasks.

    The owner of each weight is a buffer of the network, two bytes a weight.

    References:
        Mallya & Lazebnik 2018, PackNet: adding multiple tasks to a single network by iterative
        pruning, section 3.
        Wolczyk et al. 2021, Continual World: a robotic benchmark for continual reinforcement
        learning.
    """

    rehearses = True

    @dataclass(frozen=True, kw_only=True)
    class Options(Preserving.Options):
        """Options of PackNet.

        Attributes:
            retrain_share: Gradient steps after pruning, with no new data, as a share of those that
                the task took (Continual World: 100 000 after a task of a million environment
                steps, which is a tenth).
        """

        retrain_share: NonNegative = 0.1

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._task_id = 0
        self._steps: dict[str, int] = {}

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network whose weights have owners."""
        return PackNetMLP(spec)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Give the task all weights that are free.

        Raises:
            UserError: A component has no network of this method.
        """
        super().begin_task(learner, task_id)
        self._task_id = task_id
        for name, component in self.components(learner).items():
            self._steps[name] = 0
            for network in networks_of(component, PackNetMLP, "packnet"):
                network.claim(task_id)
            for _, weight, _ in _owned_weights(component):
                freeze(weight, frozen=False)

    def transform_gradient(self, component: Component, grads: ParamDict) -> ParamDict:
        """Keep the gradient of the weights that the task owns."""
        self._steps[component.name] += 1
        for name, _, owner in _owned_weights(component):
            grads[name] *= owner == self._task_id
        return grads

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Prune, and learn on with what is left."""
        super().end_task(learner, task_id)
        tasks_left = learner.num_tasks - task_id
        if tasks_left <= 1:
            return
        for component in self.components(learner).values():
            for network in networks_of(component, PackNetMLP, "packnet"):
                network.prune(task_id, keep=1 / tasks_left)
            component.optimizer.state.clear()
        rehearse_share(learner, self.options.retrain_share, self._steps)

    def task_state(self) -> StateTree:
        """The task, and the steps of each component in it; owners are buffers of the network."""
        return {"task_id": self._task_id, "steps": dict(self._steps)}

    def load_task_state(self, state: StateTree) -> None:
        """Take over a state made by `task_state`."""
        self._task_id, self._steps = state["task_id"], dict(state["steps"])


def _owned_weights(component: Component) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
    """Name in the component's module, weight, and owners."""
    for prefix, module in component.module.named_modules():
        if isinstance(module, PackNetMLP):
            for name, (weight, owner) in module.owned_weights().items():
                yield f"{prefix}.network.{name}".lstrip("."), weight, owner
