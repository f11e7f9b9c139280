"""What supervised learners share: a task's data as a whole, and rows of it drawn for updates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.utils import get_device, set_random_seed
from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.agents.learner import TaskLearner
from lifelong_rl.agents.network_builder import NetworkBuilder
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, Component, StateTree, gradient_step
from lifelong_rl.learning.adam import FusedAdam
from lifelong_rl.learning.devices import move_tree
from lifelong_rl.learning.protocols import Pause, Progress, no_pause
from lifelong_rl.networks import NetworkSpec
from lifelong_rl.networks.activations import ACTIVATIONS
from lifelong_rl.options import Positive


class SupervisedLearner(TaskLearner):
    """Learns by gradient steps on rows drawn uniformly from a task's data.

    Batch: "observations" (n, input_dim), "task" (n,) where there are several, and what is to be
    learned of them. The data is loaded when a task begins and is not part of the state.

    Args:
        env: Environment of the first task to learn.
        method: See `TaskLearner`.
        num_tasks: See `TaskLearner`.
        seed: Of all that is drawn.
        device: That the network and the data are on.
        **options: See `Options`.

    Attributes:
        options: Of this learner.

    Raises:
        UnknownNameError: There is no such option.
        OptionError: An option does not allow the value.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(TaskLearner.Options):
        """Options of every supervised learner.

        Attributes:
            batch_size: Rows in an update, drawn with replacement (untuned: as SAC's).
            updates_per_step: Updates for each of the steps that a task is learned for (untuned: as
                SAC's).
        """

        updates_per_step: Positive = 0.5

    options: Options

    def __init__(
        self,
        env: Any,
        method: ContinualMethod | None = None,
        *,
        num_tasks: int = 1,
        seed: int = 0,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> None:
        self.options = self.Options.of(None, options)
        self.device = get_device(device)
        super().__init__(
            method=method, num_tasks=num_tasks, reset_optimizers=self.options.reset_optimizers
        )
        self.seed = seed
        self._n_updates = 0
        self._data: Batch = {"observations": torch.empty(0)}  # until a task begins
        self._done = 0  # updates of the task
        set_random_seed(seed)  # as Stable-Baselines3's algorithms do before they build networks
        self.policy: nn.Module = self._make_policy(env).to(self.device)
        self._components = self._make_components(partial(FusedAdam, lr=self.options.learning_rate))

    @classmethod
    def build(
        cls,
        env: Any,
        *,
        num_tasks: int,
        method: ContinualMethod | None,
        seed: int,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> Self:
        """Build the agent as benchmark runs use it; see the class."""
        return cls(env, method, num_tasks=num_tasks, seed=seed, device=device, **options)

    def begin_task(self, task_id: int, env: Any) -> None:
        """Switch to a task: its data, resets, then the method's `begin_task`."""
        self._data = move_tree(self._load_data(task_id, env), self.device)
        self._switch(task_id)

    def check_steps(self, steps: int) -> None:
        """Raise UserError if a task of `steps` steps would have no update."""
        rate = self.options.updates_per_step
        if self._updates_in(steps) == 0:
            raise UserError(
                f"{steps} steps per task with {rate} updates per step (agent option "
                "updates_per_step) make no update: nothing would be learned"
            )

    def _updates_in(self, steps: int) -> int:
        return int(steps * self.options.updates_per_step + 1e-9)  # 10 × 0.1 is a whole update

    def learn_task(self, steps: int, progress: Progress, pause: Pause = no_pause) -> None:
        """Learn the current task for `steps` steps, of `updates_per_step` updates each.

        A step stands for an environment step of a reinforcement learner: with the same number of
        steps and of updates per step, both do the same number of gradient updates, but for the
        random steps that an off-policy learner's task begins with.

        Raises:
            UserError: There would be no update.
        """
        self.check_steps(steps)
        updates = self._updates_in(steps)
        if not self._goes_on:
            self._done = 0
        self._goes_on = False
        while self._done < updates:
            pause()
            self._update()
            self._done += 1
            progress(self._done * steps // updates)

    def task_state(self) -> StateTree | None:
        """See `TaskLearner`; how many updates are done too. The data is loaded again."""
        state = super().task_state()
        if state is None:
            return None
        return {**state, "task": {**state["task"], "done": self._done}}

    def load_task_state(self, state: StateTree, env: Any) -> None:
        """See `TaskLearner`."""
        super().load_task_state(state, env)
        self._data = move_tree(self._load_data(self.task_id, env), self.device)
        self._done = state["task"]["done"]

    def rehearse(self, updates: int) -> None:
        """Do so many more updates on the current task's data."""
        for _ in range(updates):
            self._update()

    def borrow_data(self, other: SupervisedLearner) -> None:
        """Draw from the other learner's data."""
        self._data = other._data

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        """All rows of the current task's data once, in the data's own order."""
        for first in range(0, len(self._data["observations"]), batch_size):
            yield self._take(slice(first, first + batch_size))

    @abstractmethod
    def act(self, observations: np.ndarray) -> np.ndarray:
        """Deterministic actions for observations (n, obs_dim)."""

    @abstractmethod
    def _make_policy(self, env: Any) -> nn.Module:
        """The module with the network, for the spaces of `env`."""

    @abstractmethod
    def _make_components(
        self, make_optimizer: Callable[[Iterator[nn.Parameter]], Optimizer]
    ) -> dict[str, Component]:
        """The components, on the networks of `policy`."""

    @abstractmethod
    def _load_data(self, task_id: int, env: Any) -> Batch:
        """The training data of a task, one batch."""

    def _make_network(self, input_dim: int, outputs: int) -> nn.Module:
        """A network, as the options and the method have it, with one head per task.

        Args:
            input_dim: Numbers in a row, without the task.
            outputs: Numbers that each head gives.
        """
        spec = NetworkSpec(
            input_dim=input_dim,
            hidden=self.options.hidden,
            outputs=(outputs,),
            num_tasks=self.num_tasks,
            activation=ACTIVATIONS[self.options.activation],
            layer_norm=self.options.layer_norm,
        )
        return NetworkBuilder(self.method)("policy", spec)

    def _take(self, rows: Tensor | slice) -> Batch:
        """Some rows of the current task's data."""
        return {name: values[rows] for name, values in self._data.items()}

    def _augment(self, batch: Batch) -> Batch:
        """A batch for an update, changed at random in what must not matter."""
        return batch

    def _update(self) -> None:
        self.policy.train()
        count = len(self._data["observations"])
        rows = torch.randint(count, (self.options.batch_size,), device=self.device)
        batch = self._augment(self._take(rows))
        self._n_updates += 1
        with self.update_clock.measure():
            self._step(batch)

    def _step(self, batch: Batch) -> None:
        """Update everything on one batch."""
        for component in self.components.values():
            self._record(component.name, gradient_step(component, batch, self.method))
