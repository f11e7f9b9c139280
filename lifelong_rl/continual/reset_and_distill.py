"""Reset & Distill: each task from scratch, then into one network (Ahn et al. 2025)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence
from torch.optim import Optimizer

from lifelong_rl.compatibility import Trait
from lifelong_rl.continual.distillation import adapt
from lifelong_rl.continual.distributions import from_tensors, to_tensors
from lifelong_rl.continual.initial import redraw, shrink_and_add
from lifelong_rl.continual.memory import EpisodicMemory
from lifelong_rl.continual.preserving import freeze, networks_of
from lifelong_rl.errors import UserError
from lifelong_rl.learning.adam import Adam
from lifelong_rl.learning.gradient_step import gradient_step
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.parameters import forget_moments
from lifelong_rl.learning.protocols import Batch, Component, Learner, ParamDict, StateTree
from lifelong_rl.learning.rows import take_rows
from lifelong_rl.networks.online import NO_TASK, OnlineAndContinualMLP, online_networks
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import Count, NonNegative, Positive, Scope
from lifelong_rl.registry import METHODS

CHUNK = 1024
"""Rows that are predicted for at once."""


@METHODS.register("reset-and-distill")
class ResetAndDistill(ContinualMethod):
    """Reset & Distill: learn each task from scratch, then distil it into a continual network.

    A policy is two networks (Ahn et al. 2025, section 5). The online one learns the task at hand.
    When a task begins it is initialised anew, as is everything that only helps learning, such as
    critics, so that nothing learned before is in the way. When the task ends, the continual network
    is trained on E_x KL(p_online(x) ‖ p_θ(x)) + strength · E_y KL(p_θ(y) ‖ p_kept(y)), with x rows
    of the task's data and y rows kept of earlier tasks, together with what the continual network
    predicted for them when their task had ended. It answers for all tasks but the one at hand.

    The two divergences have the directions of the authors' code. There the continual network starts
    as the first online one; here it is distilled from the first task on. New values are the initial
    ones of each layer in a new random order. What a component has beside its networks stays, such
    as the standard deviations of PPO's policy, which are of one task each.

    No task helps another to be learned, and after a task all that is known of it is in the
    continual network: a task that comes again is learned from scratch, too.

    References:
        Ahn et al. 2025, Prevalence of negative transfer in continual reinforcement learning:
        analyses and a simple baseline.
        Tang et al. 2019, Learning efficient detector with semi-supervised adaptive distillation.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("networks alone",)
    learns_several: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of ResetAndDistill.

        Attributes:
            strength: Weight of what earlier tasks' rows say (authors' code: 1).
            per_task: Rows kept of each task, a uniform sample (authors' code: 10 000).
            batch_size: Rows of the task, and as many of earlier ones, in each update of the
                distillation (authors' code: 128).
            updates: Of the distillation after each task (measured with SAC on arm3, one seed: all
                three tasks keep a success of 1.00 with 390, which are the five epochs of the
                authors' code, and with 1 000 or more; 2 000 take a quarter of learning's time).
            learning_rate: Of the distillation (untuned: as that of agents).
            gamma: γ of adaptive distillation, as that of `lwf` (untuned: off).
            beta: β of adaptive distillation, as that of `lwf` (untuned).
        """

        strength: NonNegative = 1.0
        per_task: Count = 10_000
        batch_size: Count = 128
        updates: Count = 2000
        learning_rate: Positive = 1e-3
        gamma: NonNegative = 0.0
        beta: NonNegative = 0.0
        scope: Scope = field(default="policy", init=False)

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._initial: dict[str, ParamDict] = {}
        self._memories: dict[str, EpisodicMemory] = {}
        self._tasks: list[int] = []  # that the memories hold rows of, in their order

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """An online and a continual network."""
        return OnlineAndContinualMLP(spec)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Initialise all anew but the continual networks; before the first task all is new.

        Raises:
            UserError: A policy has no network of this method.
        """
        for name, component in learner.components.items():
            learning = _learning(component)
            if name in self._initial:
                fresh = {key: redraw(self._initial[name][key]) for key in learning}
                shrink_and_add(component, fresh, 0)
                forget_moments(component.optimizer, learning.values())
            else:
                self._initial[name] = {k: p.detach().clone() for k, p in learning.items()}
        for component in self.components(learner).values():
            networks_of(component, OnlineAndContinualMLP, "reset-and-distill")
            for network in _networks(component):
                network.turn_to(task_id)
                for parameter in network.continual.parameters():
                    freeze(parameter, frozen=True)

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Distil the online networks into the continual ones, and keep rows of the task."""
        if task_id in self._tasks:  # it has come again, and the rows say what it was before
            for memory in self._memories.values():
                memory.drop_task(self._tasks.index(task_id))
            self._tasks.remove(task_id)
        for name, component in self.components(learner).items():
            data = _gather(learner, component)
            taught = data | _predict(component, data)
            for network in _networks(component):
                network.turn_to(NO_TASK)
            self._distil(component, taught)
            memory = self._memories.setdefault(name, EpisodicMemory(self.options.per_task))
            n = len(next(iter(data.values())))
            kept = take_rows(data, torch.randperm(n)[: self.options.per_task])
            memory.add_task([kept | _predict(component, kept)])
        self._tasks.append(task_id)

    def _distil(self, component: Component, taught: Batch) -> None:
        """Train the continual network of a component.

        Args:
            component: Predicts by it.
            taught: Rows of the task, and what the online network predicts for them.
        """
        networks = networks_of(component, OnlineAndContinualMLP, "reset-and-distill")
        learned = [
            p for network in networks for p in network.continual.requires_grad_().parameters()
        ]
        objective = _Distillation(component, learned, self.options)
        rows = len(next(iter(taught.values())))
        memory = self._memories[component.name] if self._tasks else None
        for _ in range(self.options.updates):
            batch = take_rows(taught, torch.randint(rows, (self.options.batch_size,)))
            if memory is not None:
                old = memory.sample(self.options.batch_size)
                batch = {key: torch.cat([batch[key], old[key]]) for key in batch}
            gradient_step(objective, batch)

    def state_dict(self) -> StateTree:
        """The initial parameters, and rows of each task with what is predicted for them."""
        return {
            "initial": dict(self._initial),
            "memories": {name: memory.state_dict() for name, memory in self._memories.items()},
            "tasks": list(self._tasks),
        }

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._initial = {name: dict(values) for name, values in state["initial"].items()}
        self._memories = {}
        for name, memory in state["memories"].items():
            self._memories[name] = EpisodicMemory(self.options.per_task)
            self._memories[name].load_state_dict(memory)
        self._tasks = list(state["tasks"])

    def task_state(self) -> StateTree:
        """Nothing: the networks themselves know the task at hand."""
        return {}


class _Distillation:
    """What an update of the continual network minimises.

    Args:
        component: Predicts by it.
        learned: Its parameters.
        options: Of the method.
    """

    def __init__(
        self, component: Component, learned: list[nn.Parameter], options: ResetAndDistill.Options
    ) -> None:
        self.name = f"distillation of {component.name}"
        self.optimizer: Optimizer = Adam(learned, lr=options.learning_rate, fused=True)
        self._component, self._options = component, options

    @property
    def module(self) -> nn.Module:
        """The component's, of which the optimizer has the continual network."""
        return self._component.module

    def loss(self, batch: Batch) -> Tensor:
        """Divergence from what rows of the task say, and what kept rows say, which come after."""
        inputs = {key: batch[key] for key in self._component.inputs}
        said = from_tensors({key: value for key, value in batch.items() if key not in inputs})
        found, first = self._component.predict(inputs), self._options.batch_size
        loss = self._weigh(kl_divergence(said, found), said)[:first].mean()
        if len(next(iter(inputs.values()))) > first:
            kept = self._weigh(kl_divergence(found, said), said)[first:].mean()
            loss = loss + self._options.strength * kept
        return loss

    def _weigh(self, divergence: Tensor, said: Distribution) -> Tensor:
        return adapt(divergence, said, self._options.gamma, self._options.beta)


def _learning(component: Component) -> dict[str, nn.Parameter]:
    """The parameters that learn the task at hand, by their names in the component's module."""
    own = {id(p) for network in online_networks(component.module) for p in network.parameters()}
    return {name: p for name, p in component.module.named_parameters() if id(p) in own}


def _networks(component: Component) -> Iterator[OnlineAndContinualMLP]:
    """The networks of this method, with those that follow them slowly."""
    for module in (component.module, *getattr(component, "followers", ())):
        yield from (part for part in module.modules() if isinstance(part, OnlineAndContinualMLP))


def _gather(learner: Learner, component: Component) -> Batch:
    """The component's inputs in all rows of the task.

    Raises:
        UserError: There are none.
    """
    parts = [{key: batch[key] for key in component.inputs} for batch in learner.task_data()]
    if not parts:
        raise UserError(
            "there is no data of the task to distil on, as the agent's task_data() is empty: give "
            "it at least a step, or --method finetune if it keeps no data"
        )
    return {key: torch.cat([part[key] for part in parts]) for key in component.inputs}


@torch.no_grad()
def _predict(component: Component, rows: Batch) -> Batch:
    """What a component predicts for many rows, as tensors."""
    n = len(next(iter(rows.values())))
    parts = [
        to_tensors(component.predict(take_rows(rows, torch.arange(at, min(at + CHUNK, n)))))
        for at in range(0, n, CHUNK)
    ]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
