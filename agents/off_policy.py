"""What off-policy learners share: components over Stable-Baselines3's collection of data."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents.buffers import buffer_state, load_buffer_state, stream
from agents.callbacks import ProgressCallback
from agents.policies import build_plain_network
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import NonFiniteError, UserError
from lifelong_rl.learning import Batch, Component, Objective, Role, StateTree
from lifelong_rl.learning.protocols import Progress
from lifelong_rl.networks import NetworkSpec


class OffPolicyLearner(OffPolicyAlgorithm):
    """Stable-Baselines3's off-policy algorithm with every gradient step open to a method.

    To be inherited before the algorithm itself, whose `train` it replaces.

    Args:
        policy: As for Stable-Baselines3.
        env: As for Stable-Baselines3; several environments at once are one `VecEnv`, with
            `gradient_steps` updates after each of its steps.
        method: Reacts around the gradient steps of the components; None for plain learning.
        num_tasks: Length of the task one-hot at the end of each observation; 1 for none.
        reset_buffer: Empty the replay buffer at a task switch.
        reset_optimizers: Forget the optimizers' moments at a task switch. Without this, stale
            momentum keeps moving the heads of old tasks.
        updates_per_step: Updates for each environment step, in place of Stable-Baselines3's
            `gradient_steps`; fractions of an update are owed to later steps.
        **sb3_arguments: As for Stable-Baselines3's algorithm.

    The resets are those of Continual World (Wolczyk et al. 2021, section 4).

    Raises:
        UserError: Arguments that do not go together.
    """

    replay_buffer: ReplayBuffer

    def __init__(
        self,
        policy: Any,
        env: GymEnv | str,
        method: ContinualMethod | None = None,
        *,
        num_tasks: int = 1,
        reset_buffer: bool = True,
        reset_optimizers: bool = True,
        updates_per_step: float | None = None,
        **sb3_arguments: Any,
    ) -> None:
        if method is not None and sb3_arguments.get("n_steps", 1) != 1:
            raise UserError("n_steps must be 1 with a continual method: memories hold single steps")
        self.method = method
        self.num_tasks = num_tasks
        self.reset_buffer = reset_buffer
        self.reset_optimizers = reset_optimizers
        self.task_id = 0
        self._task_steps = 0  # of all environments together, since the task began
        self._updates_per_step = updates_per_step
        self._updates_owed = 0.0
        self._components = self._make_components()
        self._measured: dict[str, list[float]] = defaultdict(list)
        policy_kwargs = dict(sb3_arguments.pop("policy_kwargs", None) or {})
        policy_kwargs.setdefault("optimizer_kwargs", {"fused": True})
        policy_kwargs["num_tasks"] = num_tasks
        policy_kwargs["build_network"] = self._build_network
        super().__init__(policy, env, policy_kwargs=policy_kwargs, **sb3_arguments)

    @property
    def components(self) -> Mapping[str, Component]:
        """What continual methods act on: "actor" and "critic"."""
        return self._components

    @property
    def objectives(self) -> Mapping[str, Objective]:
        """All that is optimised: the components, and what only belongs to the algorithm."""
        return self._components

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update everything `gradient_steps` times, or as `updates_per_step` says."""
        if self._updates_per_step is not None:
            self._updates_owed += self._updates_per_step * self.n_envs
            gradient_steps = int(self._updates_owed + 1e-9)  # 10 × 0.1 is a whole update
            self._updates_owed -= gradient_steps
        self._train(gradient_steps, batch_size)

    def rehearse(self, updates: int) -> None:
        """Update everything on the replay buffer, without new experience."""
        self._train(updates, self.batch_size)

    def begin_task(self, task_id: int, env: VecEnv) -> None:
        """Switch to a task: new environment, resets, then the method's `begin_task`."""
        self.set_env(env)
        # The random actions that a task begins with follow the caller's seed, not the last task.
        self.action_space.seed(int(np.random.randint(2**31)))  # noqa: NPY002 (the seeded one)
        self.task_id = task_id
        self._task_steps, self._updates_owed = 0, 0.0
        if self.reset_buffer:
            self.replay_buffer.reset()
        if self.reset_optimizers:
            for objective in self.objectives.values():
                objective.optimizer.state.clear()
        if self.method is not None:
            self.method.begin_task(self, task_id)

    def learn_task(self, steps: int, progress: Progress) -> None:
        """Learn the current task for `steps` environment steps.

        Raises:
            UserError: All of them would be random.
        """
        if steps <= self.learning_starts:
            raise UserError(
                f"{steps} steps per task are not more than the {self.learning_starts} random ones "
                "that a task begins with (agent option learning_starts): nothing would be learned"
            )
        self.learn(steps, callback=ProgressCallback(progress), log_interval=NEVER)

    def end_task(self) -> None:
        """Close the current task: the method's `end_task`."""
        if self.method is not None:
            self.method.end_task(self, self.task_id)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Deterministic actions (n, action_dim) for observations (n, obs_dim)."""
        return self.predict(observations, deterministic=True)[0]

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        """The current task's transitions that the replay buffer still holds, oldest first."""
        return stream(self.replay_buffer, self._task_steps, batch_size)

    def diagnostics(self) -> dict[str, float]:
        """Means of losses, penalties and the like since the last call."""
        means = {name: float(np.mean(values)) for name, values in self._measured.items()}
        self._measured.clear()
        return means

    def state_dict(self) -> StateTree:
        """Networks, optimizers, method, and the replay buffer if it is kept."""
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
        if not self.reset_buffer:
            state["replay_buffer"] = buffer_state(self.replay_buffer)
        return state

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict` of an agent built with the same arguments."""
        self.policy.load_state_dict(state["policy"])
        for name, objective in self.objectives.items():
            objective.optimizer.load_state_dict(state["optimizers"][name])
        self.task_id = state["task_id"]
        self._n_updates = state["n_updates"]
        if self.method is not None:
            self.method.load_state_dict(state["method"])
        if not self.reset_buffer:
            load_buffer_state(self.replay_buffer, state["replay_buffer"])

    @abstractmethod
    def _make_components(self) -> dict[str, Component]:
        """The components, which look at the networks only when they are used."""

    @abstractmethod
    def _train(self, gradient_steps: int, batch_size: int) -> None:
        """Update everything `gradient_steps` times."""

    def _build_network(self, role: Role, spec: NetworkSpec) -> nn.Module:
        if self.method is None or not self.method.acts_on(role):
            return build_plain_network(role, spec)
        return self.method.build_network(spec)

    def _sample_batch(self, batch_size: int) -> Batch:
        sampled = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
        return {name: value for name, value in sampled._asdict().items() if value is not None}

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: Any,
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        if not np.isfinite(reward).all():
            raise NonFiniteError("reward", "environment", reward[~np.isfinite(reward)][0])
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        self._task_steps += 1

    def _record(self, component: str, measured: Mapping[str, float]) -> None:
        for name, value in measured.items():
            self._measured[f"{component}_{name}"].append(value)


NEVER = 2**62  # log_interval of Stable-Baselines3's own log: the run folder has one


def check(option: str, value: object, good: bool, allowed: str) -> None:
    """Raise ValueError unless the option's value is good."""
    if not good:
        raise ValueError(f"{option} must be {allowed}, not {value}")
