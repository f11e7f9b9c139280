"""The continual method: hooks around every gradient step of a component.

A method is thin state around pure functions. It sees `loss`, `predict`, named parameters and its
own memories, never a replay buffer, a dataset or an algorithm class; so one implementation serves
every learner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from lifelong_rl.compatibility import Trait
from lifelong_rl.errors import UserError
from lifelong_rl.learning.protocols import (
    Batch,
    Component,
    Learner,
    ParamDict,
    Role,
    StateTree,
    StepRecord,
)
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec
from lifelong_rl.options import DeclaredOptions, Scope, options_of, plain

__all__ = ["ContinualMethod", "Scope"]


HOOKS = (
    "build_network",
    "begin_task",
    "extend_batch",
    "penalty",
    "transform_gradient",
    "after_step",
    "end_task",
)
"""What a method may do something in."""


class MethodAttributeError(UserError, AttributeError):
    """A method keeps an option where methods kept theirs before they had `options`."""


class ContinualMethod:
    """Base of all methods. Every hook does nothing by default.

    Args:
        options: By default all options are as their class declares them.
        **given: Options by name, on top of these: `EWC(strength=3.0)`.

    Attributes:
        needs: What an agent has to offer it: see `lifelong_rl.compatibility`.
        interleaves: Whether all tasks are to be learned at once, in every phase of the sequence.
        rehearses: Whether it calls the learner's `rehearse`.
        needs_boundaries: Whether it has to be told where one task ends and the next begins; one
            that is not cannot protect anything in a stream that announces nothing.
        learns_several: Whether it can learn several tasks in one phase; not where it chooses, when
            a task begins, the part of the networks that learns it.
        options: Of this method.
        made_as: The name and the options that `lifelong_rl.continual.make` made it by, None if it
            was made otherwise. Files of agents hold these.
        begun: Whether a run or a learner has begun with it; a run takes none that another has.

    Raises:
        UnknownNameError: There is no such option.
        OptionError: An option does not allow the value.
        MethodAttributeError: A subclass reads or sets an option as an attribute of its own, which
            nothing else would know of, or never calls this constructor.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(DeclaredOptions):
        """Options of every method.

        Attributes:
            scope: Which components it acts on: the networks that the agent is evaluated by
                (policy), those that only help learning (value), or both (Wolczyk et al. 2021
                regularise the actor alone).
        """

        scope: Scope = "policy"

    needs: ClassVar[tuple[Trait, ...]] = ()
    interleaves: ClassVar[bool] = False
    rehearses: ClassVar[bool] = False
    needs_boundaries: ClassVar[bool] = True

    learns_several: ClassVar[bool] = True
    options: Options
    made_as: tuple[str, dict[str, Any]] | None = None
    begun: bool = False

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        own = vars(self).copy()
        self.options = self.Options.of(options, given)
        for name, value in own.items():
            self._refuse_other_value(name, value)

    if not TYPE_CHECKING:  # for whom they would allow any attribute

        def __getattr__(self, name: str) -> Any:
            """Only called for what is missing: say where options are."""
            kind = type(self).__name__
            if name == "options":
                raise MethodAttributeError(
                    f"{kind} has no options yet; its __init__ has to call super().__init__(...), "
                    "with the scope if it has another than 'policy'"
                )
            if "options" in vars(self) and name in options_of(self.Options):
                raise MethodAttributeError(
                    f"'{name}' of {kind} is self.options.{name} now (see docs/renaming.md)"
                )
            raise AttributeError(f"'{kind}' object has no attribute '{name}'", name=name, obj=self)

        def __setattr__(self, name: str, value: Any) -> None:
            """Refuse another value for an option than everything else goes by."""
            self._refuse_other_value(name, value)
            object.__setattr__(self, name, value)

    def _refuse_other_value(self, name: str, value: object) -> None:
        if "options" not in vars(self) or name not in options_of(self.Options):
            return
        used = getattr(self.options, name)
        if plain(value) != plain(used):
            raise MethodAttributeError(
                f"{type(self).__name__} sets '{name}' to {value!r}, and its options say {used!r}; "
                f"pass it on, as super().__init__({name}={name}), and read self.options.{name} "
                "(see docs/renaming.md)"
            )

    def acts_on(self, role: Role) -> bool:
        """Whether the hooks below are called for components of this role."""
        return self.options.scope in ("both", role)

    def components(self, learner: Learner) -> dict[str, Component]:
        """The learner's components that the method acts on, by name."""
        return {n: c for n, c in learner.components.items() if self.acts_on(c.role)}

    def check_components(self, learner: Learner) -> None:
        """Refuse a learner that has nothing for the method to act on, or cannot do what it asks.

        Raises:
            UserError: The option `scope` leaves none of its components, or it cannot rehearse.
        """
        if self.rehearses and not callable(getattr(learner, "rehearse", None)):
            raise UserError(
                f"{type(self).__name__} trains on when a task has ended, and this agent, "
                f"{type(learner).__name__}, has no rehearse(updates)"
            )
        if "scope" not in options_of(self.Options) or self.components(learner):
            return
        found = ", ".join(f"'{n}' ({c.role})" for n, c in learner.components.items())
        raise UserError(
            f"{type(self).__name__} with scope '{self.options.scope}' has nothing to act on: "
            + (f"the components of this agent are {found}" if found else "the agent has no network")
        )

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """The network of a component that this method acts on; expansion methods change it."""
        return MultiHeadMLP(spec)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Called before the first step of task `task_id` (from 0)."""

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """The batch that the task's loss is computed on, e.g. with rows of memory added."""
        return batch

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """A scalar whose gradient is added to the task gradient."""
        return None

    def transform_gradient(self, component: Component, grads: ParamDict) -> ParamDict:
        """The gradient to step with, given the sum of task and penalty gradient.

        The tensors in `grads` may be changed in place and returned.
        """
        return grads

    def after_step(self, component: Component, step: StepRecord) -> None:
        """Called after the optimizer has stepped."""

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Called after the last step of task `task_id`, while its data is still there."""

    def state_dict(self) -> StateTree:
        """What the method keeps from old tasks. Its tensors are what a run reports as memory."""
        return {}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""

    def task_state(self) -> StateTree | None:
        """What it keeps of the current task beside `state_dict`, so that a run can go on within it.

        `begin_task` is not called again then. None, the default of a method that does anything,
        says that this is not known; runs with it have checkpoints at the ends of tasks only.
        """
        return None if self.reacts else {}

    def load_task_state(self, state: StateTree) -> None:
        """Take over a state made by `task_state`; `load_state_dict` has been called."""

    @property
    def reacts(self) -> bool:
        """Whether it does anything at all: true where a method overrides a hook."""
        return any(
            getattr(type(self), hook) is not getattr(ContinualMethod, hook) for hook in HOOKS
        )

    @property
    def acts_untold(self) -> bool:
        """Whether it acts in a stream that announces nothing, with the options that it has.

        `needs_boundaries` says whether it does with all options.
        """
        return not self.needs_boundaries

    @property
    def option_needs(self) -> Mapping[str, Trait]:
        """What an agent has to offer it beside `needs`, by the option that asks for it.

        Such as {"keep=distilled": "class labels"}; nothing with the options that it has.
        """
        return {}

    @property
    def transforms_gradients(self) -> bool:
        """Whether `transform_gradient` is to be called; true where a method overrides it."""
        return type(self).transform_gradient is not ContinualMethod.transform_gradient

    @property
    def records_steps(self) -> bool:
        """Whether `after_step` is to be called; true where a method overrides it."""
        return type(self).after_step is not ContinualMethod.after_step
