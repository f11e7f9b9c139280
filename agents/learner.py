"""What all learners share: components, tasks, and their state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from lifelong_rl.agents.action_mask import action_dims_of
from lifelong_rl.agents.callbacks import ProgressCallback
from lifelong_rl.agents.network_builder import NetworkBuilder
from lifelong_rl.agents.saving import PROGRESS, Savable
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, Component, Objective, StateTree, UpdateClock
from lifelong_rl.learning.devices import move_tree
from lifelong_rl.learning.protocols import Experience, Pause, Progress
from lifelong_rl.options import Activation, Count, DeclaredOptions, Layers, Positive


class TaskLearner(ABC):
    """Holds components, the method around them, and what lasts from task to task.

    Cooperative: what is not its own is passed on to the next class's constructor. That class, or
    the one that inherits, provides `policy`, a module with all networks, and the `device` that they
    are on, and fills `_components` once the networks and their optimizers are there.

    Args:
        *base: Passed on.
        method: Reacts around the gradient steps of the components; None for plain learning.
        num_tasks: Number of tasks, and length of the task one-hot at the end of each observation
            that environments show; with 1 there is none.
        reset_optimizers: See `Options`.
        **more: Passed on.

    Attributes:
        sees: Whether `build` takes `eyes`, for environments that show pictures.
        taught: Whether `build` takes an `expert` with `act`, the agent of the run that the option
            `teacher` names.
        update_clock: Counts and times the updates.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(DeclaredOptions):
        """Options of every learner.

        Attributes:
            hidden: Units of each hidden layer (untuned: half the units of Haarnoja et al. 2018b,
                for a CPU).
            activation: What follows each hidden layer (Haarnoja et al. 2018b). With 'crelu' a unit
                has two activations, and the next layer reads twice as many.
            layer_norm: LayerNorm and tanh after the first layer (Wolczyk et al. 2021, appendix A);
                'every' is LayerNorm before each activation.
            learning_rate: Of all optimizers (Wolczyk et al. 2021, in their implementation).
            batch_size: Rows in an update (measured, see docs/settings.md; 256 in Haarnoja
                et al. 2018b).
            reset_optimizers: Forget the optimizers' moments at a task switch (as Continual World).
                Without this, stale momentum keeps moving the heads of old tasks.
        """

        hidden: Layers = (128, 128)
        activation: Activation = "relu"
        layer_norm: bool | Literal["every"] = True
        learning_rate: Positive = 1e-3
        batch_size: Count = 160
        reset_optimizers: bool = True

    sees: ClassVar[bool] = False
    taught: ClassVar[bool] = False
    policy: Any
    device: torch.device
    _n_updates: int

    def __init__(
        self,
        *base: Any,
        method: ContinualMethod | None,
        num_tasks: int,
        reset_optimizers: bool,
        **more: Any,
    ) -> None:
        self.method = method
        self.num_tasks = num_tasks
        self.reset_optimizers = reset_optimizers
        self.task_id = 0
        self._task_begun = False
        self._goes_on = False  # with a task that was begun, when it is learned next
        self._components: Mapping[str, Component] = {}
        self._measured: dict[str, list[float]] = defaultdict(list)
        super().__init__(*base, **more)
        self.update_clock = UpdateClock(self.device)

    @property
    def components(self) -> Mapping[str, Component]:
        """What continual methods act on, by name."""
        return self._components

    @property
    def objectives(self) -> Mapping[str, Objective]:
        """All that is optimised: the components, and what only belongs to the algorithm."""
        return self._components

    def end_task(self) -> None:
        """Close the current task: the method's `end_task`."""
        if self.method is not None:
            self.method.end_task(self, self.task_id)

    def diagnostics(self) -> dict[str, float]:
        """Means of losses, penalties and the like since the last call."""
        means = {name: float(np.mean(values)) for name, values in self._measured.items()}
        self._measured.clear()
        return means

    def state_dict(self) -> StateTree:
        """Networks, optimizers and the method."""
        state: dict[str, Any] = {
            "policy": self.policy.state_dict(),
            "optimizers": {
                name: objective.optimizer.state_dict()
                for name, objective in self.objectives.items()
            },
            "task_id": self.task_id,
            "n_updates": self._n_updates,
        }
        if self.method is not None:
            state["method"] = self.method.state_dict()
        return state

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict` of an agent built with the same arguments."""
        self.policy.load_state_dict(state["policy"])
        for name, objective in self.objectives.items():
            objective.optimizer.load_state_dict(state["optimizers"][name])
        self.task_id = state["task_id"]
        self._n_updates = state["n_updates"]
        if self.method is not None:
            self.method.load_state_dict(move_tree(state["method"], self.device))

    @property
    def experience(self) -> Experience | None:
        """See `lifelong_rl.learning.protocols.ResumableAgent`."""
        return None

    def task_state(self) -> StateTree | None:
        """See `lifelong_rl.learning.protocols.ResumableAgent`.

        Subclasses add to what is under "task": what belongs to the current task alone.
        """
        of_method = {} if self.method is None else self.method.task_state()
        if of_method is None:
            return None
        named = self.policy.named_parameters()
        return {
            **self.state_dict(),
            "task": {
                "method": of_method,
                "frozen": [name for name, parameter in named if not parameter.requires_grad],
                "measured": {name: np.array(each) for name, each in self._measured.items()},
            },
        }

    def load_task_state(self, state: StateTree, env: Any) -> None:
        """See `lifelong_rl.learning.protocols.ResumableAgent`."""
        self.load_state_dict(state)
        of_task = state["task"]
        if self.method is not None:
            self.method.load_task_state(move_tree(of_task["method"], self.device))
        frozen = set(of_task["frozen"])
        for name, parameter in self.policy.named_parameters():
            parameter.requires_grad_(name not in frozen)
        self._measured.clear()
        for name, values in of_task["measured"].items():
            self._measured[name] = values.tolist()
        self._task_begun = self._goes_on = True

    @abstractmethod
    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        """The current task's training data once, in the order in which it was seen."""

    @abstractmethod
    def rehearse(self, updates: int) -> None:
        """Do so many gradient steps of every component on the current task."""

    @abstractmethod
    def borrow_data(self, other: Any) -> None:
        """Learn from the current task's data of another learner of this class, not from one's own.

        `rehearse` can then be timed on what the other one learns from, which nothing changes.
        """

    def _switch(self, task_id: int) -> None:
        """Turn to a task whose data is in place: resets, then the method's `begin_task`."""
        self.task_id, self._task_begun, self._goes_on = task_id, True, False
        if self.reset_optimizers:
            for objective in self.objectives.values():
                objective.optimizer.state.clear()
        if self.method is not None:
            self.method.check_components(self)
            self.method.begun = True
            self.method.begin_task(self, task_id)

    def _record(self, component: str, measured: Mapping[str, float]) -> None:
        for name, value in measured.items():
            self._measured[f"{component}_{name}"].append(value)


class ContinualLearner(TaskLearner, Savable):
    """A Stable-Baselines3 algorithm with every gradient step open to a continual method.

    To be inherited before the algorithm itself.

    Args:
        policy: As for Stable-Baselines3; its class takes `num_tasks` and `build_network`.
        env: As for Stable-Baselines3.
        method: See `TaskLearner`.
        num_tasks: See `TaskLearner`.
        reset_optimizers: See `TaskLearner`.
        **sb3_arguments: As for Stable-Baselines3's algorithm.

    Attributes:
        action_dims: Leading entries of an action that count in each task, as the environments tell;
            None where all do.

    Raises:
        UserError: The actions are not continuous, or the method is none.
        ContractError: What the environments tell of their actions cannot be.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        method: ContinualMethod | None = None,
        *,
        num_tasks: int = 1,
        reset_optimizers: bool = True,
        **sb3_arguments: Any,
    ) -> None:
        if not isinstance(method, ContinualMethod | None):
            raise UserError(
                f"the third argument of {type(self).__name__} is a continual method, such as "
                f"lifelong_rl.continual.make('ewc'), and not {method!r}; give the learning rate "
                "by its name: learning_rate=3e-4"
            )
        actions = getattr(env, "action_space", None)  # the name of an environment has none yet
        if actions is not None and not isinstance(actions, spaces.Box):
            raise UserError(
                f"{type(self).__name__} learns tasks with continuous actions, such as those of the "
                f"sequence 'arm3'; actions here are {actions}: labelled data is for the agent "
                "'classifier'"
            )
        policy_kwargs = dict(sb3_arguments.pop("policy_kwargs", None) or {})
        self.action_dims = action_dims_of(env, num_tasks)
        policy_kwargs["num_tasks"] = num_tasks
        policy_kwargs["action_dims"] = self.action_dims
        policy_kwargs["build_network"] = NetworkBuilder(method)
        super().__init__(
            policy,
            env,
            method=method,
            num_tasks=num_tasks,
            reset_optimizers=reset_optimizers,
            policy_kwargs=policy_kwargs,
            **sb3_arguments,
        )

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """Learn in these environments from now on.

        Raises:
            UserError: They tell other sizes of actions than those that the agent was made for.
        """
        told = action_dims_of(env, self.num_tasks)
        if told != self.action_dims:
            raise UserError(
                f"the agent was made for environments with action_dims {self.action_dims}, and "
                f"these have {told} (None: all entries of an action count)"
            )
        super().set_env(env, force_reset)

    def begin_task(self, task_id: int, env: VecEnv) -> None:
        """Switch to a task: new environment, resets, then the method's `begin_task`."""
        self.set_env(env)
        # What is drawn from the action space follows the caller's seed, not the last task.
        self.action_space.seed(int(np.random.randint(2**31)))  # noqa: NPY002 (the seeded one)
        self._switch(task_id)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Deterministic actions (n, action_dim) for observations (n, obs_dim)."""
        return self.predict(observations, deterministic=True)[0]

    def task_state(self) -> StateTree | None:
        """See `TaskLearner`; how far Stable-Baselines3 is with its `learn` too."""
        state = super().task_state()
        if state is None:
            return None
        of_task = {
            **state["task"],
            "progress": {name: getattr(self, name) for name in PROGRESS if hasattr(self, name)},
            "last_observations": self._last_obs,
            "last_episode_starts": self._last_episode_starts,
            "action_generator": self.action_space.np_random.bit_generator.state,
        }
        return {**state, "task": of_task}

    def load_task_state(self, state: StateTree, env: Any) -> None:
        """See `TaskLearner`; the agent was built in `env`."""
        super().load_task_state(state, env)
        of_task = state["task"]
        for name, value in of_task["progress"].items():
            setattr(self, name, value)
        self._last_obs = of_task["last_observations"]
        self._last_episode_starts = of_task["last_episode_starts"]
        self.action_space.np_random.bit_generator.state = of_task["action_generator"]

    def _learn(self, steps: int, progress: Progress, pause: Pause) -> None:
        """Learn the current task for `steps` steps in all, from its beginning or on."""
        goes_on, self._goes_on = self._goes_on, False
        self.learn(
            steps - self.num_timesteps if goes_on else steps,
            callback=ProgressCallback(progress, pause),
            log_interval=NEVER,
            reset_num_timesteps=not goes_on,
        )


NEVER = 2**62  # log_interval of Stable-Baselines3's own log: the run folder has one
