"""Several methods in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import (
    Batch,
    Component,
    Learner,
    ParamDict,
    Role,
    StateTree,
    StepRecord,
)
from lifelong_rl.networks import NetworkSpec


class Chain(ContinualMethod):
    """Methods one after the other: each hook calls those that act on the component, in order.

    Penalties add up. What one method makes of a batch or of a gradient the next one gets, so a
    method that holds parameters fixed by their gradient (PackNet) belongs at the end.

    Args:
        methods: By name, in order. At most one may change the network, and it must then act on all
            that the others act on; nor can any of them have all tasks learned at once.

    Raises:
        UserError: They do not go together.
    """

    def __init__(self, methods: Mapping[str, ContinualMethod]) -> None:
        super().__init__(scope="both")
        self.methods = dict(methods)
        builders = [name for name, method in self.methods.items() if changes_network(method)]
        if len(builders) > 1:
            raise UserError(f"{' and '.join(builders)} cannot be combined: both make the network")
        for name, method in self.methods.items():
            if method.interleaves:
                raise UserError(f"{name} cannot be combined: there are no old tasks under it")
        self._builder = self.methods[builders[0]] if builders else ContinualMethod()
        for role in ("policy", "value") if builders else ():
            if self.acts_on(role) and not self._builder.acts_on(role):
                raise UserError(
                    f"{builders[0]} makes the network, so it must act on all that the others act "
                    f"on, the {role} too: give them the same scope"
                )

    def acts_on(self, role: Role) -> bool:
        """Whether one of the methods acts on components of this role."""
        return any(method.acts_on(role) for method in self.methods.values())

    def check_components(self, learner: Learner) -> None:
        """Refuse a learner that has nothing for one of the methods to act on."""
        for method in self.methods.values():
            method.check_components(learner)

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """The network of the method that changes it."""
        return self._builder.build_network(spec)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Let every method prepare for the task."""
        for method in self.methods.values():
            method.begin_task(learner, task_id)

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """The batch as the last of the methods leaves it."""
        for method in self._acting(component):
            batch = method.extend_batch(component, batch)
        return batch

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """The sum of the penalties; None if there is none."""
        total = None
        for method in self._acting(component):
            penalty = method.penalty(component, batch)
            if penalty is not None:
                total = penalty if total is None else total + penalty
        return total

    def transform_gradient(self, component: Component, grads: ParamDict) -> ParamDict:
        """The gradient as the last of the methods leaves it."""
        for method in self._acting(component):
            if method.transforms_gradients:
                grads = method.transform_gradient(component, grads)
        return grads

    def after_step(self, component: Component, step: StepRecord) -> None:
        """Tell the methods that keep account of steps."""
        for method in self._acting(component):
            if method.records_steps:
                method.after_step(component, step)

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Let every method close the task."""
        for method in self.methods.values():
            method.end_task(learner, task_id)

    def state_dict(self) -> StateTree:
        """What each method keeps, by name."""
        return {name: method.state_dict() for name, method in self.methods.items()}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        for name, method in self.methods.items():
            method.load_state_dict(state[name])

    def task_state(self) -> StateTree | None:
        """What each method keeps of the current task; None if one of them does not tell."""
        states = {name: method.task_state() for name, method in self.methods.items()}
        return None if None in states.values() else states

    def load_task_state(self, state: StateTree) -> None:
        """Take over a state made by `task_state`."""
        for name, method in self.methods.items():
            method.load_task_state(state[name])

    @property
    def reacts(self) -> bool:
        """Whether one of the methods does anything."""
        return any(method.reacts for method in self.methods.values())

    @property
    def transforms_gradients(self) -> bool:
        """Whether one of the methods does."""
        return any(method.transforms_gradients for method in self.methods.values())

    @property
    def records_steps(self) -> bool:
        """Whether one of the methods does."""
        return any(method.records_steps for method in self.methods.values())

    def _acting(self, component: Component) -> Iterator[ContinualMethod]:
        return (method for method in self.methods.values() if method.acts_on(component.role))


def changes_network(method: ContinualMethod) -> bool:
    """Whether a method builds networks of its own kind."""
    return type(method).build_network is not ContinualMethod.build_network


def split_options(name: str, options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The methods that a name stands for, in order, and the options of each.

    Args:
        name: Of one method, or of several joined by "+".
        options: Of one method by their names; of a chain by "METHOD.OPTION".

    Raises:
        UserError: A method is named twice.
        UnknownNameError: An option of a chain does not begin with one of its methods.
    """
    names = name.split("+")
    if len(names) == 1:
        return {name: dict(options)}
    parts: dict[str, dict[str, Any]] = {part: {} for part in names}
    if len(parts) < len(names):
        raise UserError(f"the chain '{name}' names a method twice")
    known = {part.replace("-", "_"): part for part in parts}
    for key, value in options.items():
        prefix, _, option = key.partition(".")
        part = known.get(prefix.replace("-", "_"))
        if part is None or not option:
            raise UnknownNameError(
                f"option of {name}", key, (f"{part}.{key}" for part in parts), see=""
            )
        parts[part][option] = value
    return parts
