"""Going back to how networks began: what the methods that keep them able to learn share."""

from __future__ import annotations

from typing import Any

from torch import nn

from lifelong_rl.continual.preserving import networks_of
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Component, Learner, ParamDict, StateTree
from lifelong_rl.networks import MultiHeadMLP


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
