"""Going back to how networks began: what the methods that keep them able to learn share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lifelong_rl.continual.preserving import networks_of
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Component, Learner, ParamDict, StateTree, StepRecord
from lifelong_rl.networks import MultiHeadMLP
from lifelong_rl.networks.mlp import ALL
from lifelong_rl.options import Count, Scope


class FromInitial(ContinualMethod):
    """Base of the methods that know the networks' initial parameters.

    They act on the networks of a component, and leave what it has beside them as it is, such as an
    image encoder, which may not have begun at random, or the standard deviations of PPO's policy.
    Where there are several heads they are left too, unless the method says otherwise: each belongs
    to one task, is as it began until that task is learned, and what would change it afterwards is
    nothing that the task's loss could put right.
    """

    def __init__(self, options: ContinualMethod.Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._initial: dict[str, ParamDict] = {}

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Keep the networks' parameters before the first step that is ever done.

        Raises:
            UserError: A component has no network to act on.
        """
        for name, component in self.components(learner).items():
            networks_of(component, MultiHeadMLP, type(self).__name__)
            if name not in self._initial:
                self._initial[name] = {
                    key: value.detach().clone() for key, value in of_networks(component).items()
                }

    def state_dict(self) -> StateTree:
        """The initial parameters of each component's networks."""
        return {"initial": dict(self._initial)}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._initial = {name: dict(values) for name, values in state["initial"].items()}

    def task_state(self) -> StateTree:
        """Nothing: it changes at the beginning of the first task only."""
        return {}


class Renewing(FromInitial, ABC):
    """Base of the methods that give parameters new values now and then.

    They do so when a task begins that is not the first, or after every `every` steps of a
    component; then no switch has to be told. What others hold by the gradient, as PackNet does, is
    not held against it; what they freeze is.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(FromInitial.Options):
        """Options of these methods.

        Attributes:
            every: Gradient steps of a component from one time to the next; null for the beginnings
                of tasks.
            scope: Which components it acts on.
        """

        every: Count | None = None
        scope: Scope = "both"

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._steps: dict[str, int] = {}
        self._task_id = 0

    @abstractmethod
    def renew(self, component: Component, task_id: int) -> None:
        """Give parameters new values, while task `task_id` is learned or begins."""

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Act, unless nothing has been learned yet or steps are counted."""
        began = set(self._initial)
        super().begin_task(learner, task_id)
        self._task_id = task_id
        for name, component in self.components(learner).items():
            if name in began and self.options.every is None:
                self.renew(component, task_id)

    def after_step(self, component: Component, step: StepRecord) -> None:
        """Count, and act after every `every` steps: no graph of the parameters is in use then."""
        steps = self._steps.get(component.name, 0) + 1
        self._steps[component.name] = steps
        if self.options.every is not None and steps % self.options.every == 0:
            self.renew(component, self._task_id)

    def state_dict(self) -> StateTree:
        """The initial parameters, and the steps of each component so far."""
        return {**super().state_dict(), "steps": dict(self._steps)}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        super().load_state_dict(state)
        self._steps = dict(state["steps"])

    def task_state(self) -> StateTree:
        """The task."""
        return {"task_id": self._task_id}

    def load_task_state(self, state: StateTree) -> None:
        """Take over a state made by `task_state`."""
        self._task_id = state["task_id"]

    @property
    def records_steps(self) -> bool:
        """Whether steps are counted."""
        return self.options.every is not None

    @property
    def acts_untold(self) -> bool:
        """Whether steps are counted."""
        return self.options.every is not None


def redraw(initial: Tensor) -> Tensor:
    """Initial values drawn anew: the same with the order of each axis drawn at random.

    Whatever a layer's weights were drawn from, independent of each other or orthogonal, gives them
    in any order of its inputs and of its outputs with the same probability. So nothing has to be
    known of how an agent initialises its networks.

    Args:
        initial: Values of one parameter, such as (copies, out, in).
    """
    for axis, size in enumerate(initial.shape):
        order = torch.randperm(size).to(initial.device)
        initial = initial.index_select(axis, order)
    return initial


@torch.no_grad()
def shrink_and_add(
    component: Component, added: Mapping[str, Tensor], shrink: float, rows: slice = ALL
) -> None:
    """Multiply parameters of a component by `shrink` and add something.

    Networks that follow it slowly, such as a critic's target, get the same: their values would be
    of another network else.

    Args:
        component: Holds the parameters.
        added: To each parameter that is to change, of its shape, by name.
        shrink: Factor.
        rows: Of axis 1, the outputs, which are to change.
    """
    for module in (component.module, *getattr(component, "followers", ())):
        for name, values in added.items():
            module.get_parameter(name)[:, rows].mul_(shrink).add_(values[:, rows])


def of_networks(component: Component, *, heads: bool = True) -> dict[str, nn.Parameter]:
    """The parameters of a component's networks, by their names in its module.

    Args:
        component: Holds the networks.
        heads: Whether with the heads of networks that have several.
    """
    found: dict[str, nn.Parameter] = {}
    for prefix, network in component.module.named_modules():
        if isinstance(network, MultiHeadMLP):
            for name, parameter in network.named_parameters(prefix):
                of_head = name.removeprefix(prefix).lstrip(".").startswith("heads.")
                if heads or not of_head or network.spec.num_tasks == 1:
                    found[name] = parameter
    return found
