"""What a learner shows to a continual method: components, and the current task's data.

A method never learns whether a reinforcement learner or a supervised learner called it.
All it sees of either is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.optim import Optimizer

Batch = dict[str, Tensor]
"""Named tensors that share their first axis, (n, ...): one row, one sample.

Where there are several tasks, "task" (n,) of int64 is the number of each row's task, from 0, and
"observations" are without the one-hot that environments show at their end.
"""

ParamDict = dict[str, Tensor]
"""Parameter name, as in `module.named_parameters()`, to a tensor of its shape."""

Gradient = tuple[Tensor, list[tuple[nn.Parameter, Tensor]]]
"""A loss, a scalar without a graph; and each parameter's gradient."""

StateTree = Mapping[str, Any]
"""Nested mappings from strings to tensors, numbers, strings, booleans, None or lists of these."""

Role = Literal["policy", "value"]


class Objective(Protocol):
    """Parameters, the loss they minimise and the optimizer that steps them.

    It may have a method `analytic_gradient(batch)` that gives the value of `loss` and, for each
    parameter, its gradient, or None where there are no formulae for the batch: see
    `lifelong_rl.learning.parameters.analytic_gradient`.
    """

    @property
    def name(self) -> str:
        """Such as "actor", "critic", "policy" or "classifier"."""
        ...

    @property
    def module(self) -> nn.Module:
        """Holds the parameters."""
        ...

    @property
    def optimizer(self) -> Optimizer:
        """Steps the parameters of `module`."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """The task's loss on `batch`, a scalar: the mean over its rows."""
        ...


class Component(Objective, Protocol):
    """An objective whose parameters are a network that predicts: what methods act on.

    `loss` and `predict` are functions of the batch and of the current values of `module`'s
    parameters. They may draw random numbers (from torch's global generator) but must not branch on
    values of the batch, so that `torch.func.vmap` can take per-sample gradients through them.

    It may have an attribute `followers`, modules like `module` that follow it slowly, such as the
    target of a critic: a method that makes parameters anew does the same with theirs.
    """

    @property
    def role(self) -> Role:
        """What the network is for; methods choose what they act on by it.

        "policy" if its output is what the learner is evaluated by, "value" if it only helps
        learning.
        """
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names in a batch that `predict` reads, such as ("observations", "task")."""
        ...

    @property
    def replayable(self) -> bool:
        """Whether `loss` means the same on rows of long ago as on fresh ones.

        False where the loss holds only for rows that the current parameters have just produced,
        as the clipped surrogate of an on-policy learner does.
        """
        ...

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        """The same rows as if they belonged to other tasks; `batch` is left as it is.

        Args:
            batch: Rows, (n, ...).
            task: One task for all of them, or one for each, (n,) of int64.
        """
        ...

    def predict(self, batch: Batch) -> Distribution:
        """What the network predicts for each row; `batch_shape` is (n,)."""
        ...


class Learner(Protocol):
    """What a method may ask of the learner at the beginning and end of a task.

    Attributes:
        num_tasks: Number of tasks; 1 when observations do not tell theirs.
    """

    num_tasks: int

    @property
    def components(self) -> Mapping[str, Component]:
        """The components by name."""
        ...

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        """The current task's training data once, in the order in which it was seen.

        Each batch holds what the components' `loss` and `predict` need, and nothing that is
        drawn anew at every update (exploration noise, dropout masks).
        """
        ...

    def rehearse(self, updates: int) -> None:
        """Do so many gradient steps of every component on the current task, hooks included.

        For methods that train on when a task has ended, such as after pruning. Learners that keep
        the task's data take no new data for it.
        """
        ...


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What happened in one gradient step, for methods that keep account of it.

    Attributes:
        batch: The batch that the loss was computed on, extended rows included.
        loss: The task's loss before the step.
        task_gradient: Gradient of the task's loss alone, before penalty and transformation.
        before: The parameters before the step.
    """

    batch: Batch
    loss: float
    task_gradient: ParamDict
    before: ParamDict


Progress = Callable[[int], None]
"""Called with the number of environment steps (or samples) done in the current task."""

Pause = Callable[[], None]
"""Called where `ResumableAgent.task_state` is all that is needed to go on; may end the learning."""


def no_pause() -> None:
    """Do nothing where an agent could be saved."""


class Experience(Protocol):
    """What an agent gathers while it learns a task, step by step; the oldest may be dropped."""

    def span(self) -> tuple[int, int]:
        """The first step that is held, and the one that would come next."""
        ...

    def read(self, first: int, end: int) -> dict[str, np.ndarray]:
        """Steps from `first` to before `end` as arrays (end - first, ...), perhaps views."""
        ...

    def write(self, first: int, steps: Mapping[str, np.ndarray]) -> None:
        """Put back what `read` gave from `first` on; called in order, from the oldest on."""
        ...


class Agent(Learner, Protocol):
    """A learner that the sequence loop can run from the first task to the last.

    It may also have `check_steps(steps)`, which raises UserError where a task of so many steps is
    too short to learn anything in; all tasks are checked before the first begins.
    """

    def begin_task(self, task_id: int, env: Any) -> None:
        """Prepare for a task: resets, the method's `begin_task`, the new environment."""
        ...

    def learn_task(self, steps: int, progress: Progress) -> None:
        """Learn the current task for `steps` environment steps (or samples)."""
        ...

    def end_task(self) -> None:
        """Close the current task: the method's `end_task`."""
        ...

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Deterministic actions (n, action_dim) for observations (n, obs_dim)."""
        ...

    def diagnostics(self) -> Mapping[str, float]:
        """Means since the last call of what the updates reported, for the metrics log."""
        ...

    def state_dict(self) -> StateTree:
        """All that is needed to go on with the next task, the method's state included."""
        ...

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict` of an agent built with the same arguments."""
        ...


class ResumableAgent(Agent, Protocol):
    """An agent that can be saved within a task, and goes on there to the last bit.

    Attributes:
        experience: What it has gathered and `task_state` leaves out, as that only grows; None if
            there is nothing. It is written in pieces, each of them once.
    """

    experience: Experience | None

    def learn_task(self, steps: int, progress: Progress, pause: Pause = no_pause) -> None:
        """Learn the current task, or go on after `load_task_state`.

        Calls `pause` again and again between updates.
        """
        ...

    def task_state(self) -> StateTree | None:
        """All that is needed to go on within the task, but `experience` and random numbers.

        Holds what `state_dict` does. None where its method does not tell what it keeps.
        """
        ...

    def load_task_state(self, state: StateTree, env: Any) -> None:
        """Take over a state made by `task_state`, in place of `begin_task`.

        `experience` is written afterwards.
        """
        ...
