"""Soft actor-critic (Haarnoja et al. 2018) as a sequence of components for continual methods."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.optim import Adam

from agents.buffers import buffer_state, load_buffer_state, stream
from agents.callbacks import ProgressCallback
from agents.policies import Actor, ContinualSACPolicy, Critic, build_plain_network
from agents.sac_components import EntropyCoefficient, SACActor, SACCritic
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import NonFiniteError, UserError
from lifelong_rl.learning import Batch, Component, Role, StateTree, gradient_step
from lifelong_rl.learning.protocols import Progress
from lifelong_rl.networks import NetworkSpec


class SAC(sb3.SAC):
    """Stable-Baselines3's SAC with every gradient step open to a continual method.

    Without a method it learns what Stable-Baselines3's SAC learns: the same parameters from the
    same seed, to within the rounding of batched and fused operations.

    Args:
        policy: "MlpPolicy" or a subclass of `ContinualSACPolicy`.
        env: As for Stable-Baselines3; several environments at once are one `VecEnv`, with
            `gradient_steps` updates after each of its steps.
        method: Reacts around the gradient steps of "actor" and "critic"; None for plain learning.
        num_tasks: Length of the task one-hot at the end of each observation; 1 for none.
        reset_buffer: Empty the replay buffer at a task switch.
        reset_optimizers: Forget the optimizers' moments at a task switch. Without this, stale
            momentum keeps moving the heads of old tasks.
        reset_entropy: Start each task with the initial entropy coefficient. Without this it starts
            with the last task's.
        updates_per_step: Updates for each environment step, in place of Stable-Baselines3's
            `gradient_steps`; fractions of an update are owed to later steps.
        **sb3_arguments: As for Stable-Baselines3's SAC.

    The resets are those of Continual World (Wolczyk et al. 2021, section 4).

    Raises:
        UserError: Arguments that do not go together.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": ContinualSACPolicy}
    policy: ContinualSACPolicy
    actor: Actor  # type: ignore[assignment]
    critic: Critic  # type: ignore[assignment]
    critic_target: Critic  # type: ignore[assignment]
    replay_buffer: ReplayBuffer

    def __init__(
        self,
        policy: str | type[ContinualSACPolicy],
        env: GymEnv | str,
        method: ContinualMethod | None = None,
        *,
        num_tasks: int = 1,
        reset_buffer: bool = True,
        reset_optimizers: bool = True,
        reset_entropy: bool = True,
        updates_per_step: float | None = None,
        **sb3_arguments: Any,
    ) -> None:
        if method is not None and sb3_arguments.get("n_steps", 1) != 1:
            raise UserError("n_steps must be 1 with a continual method: memories hold single steps")
        if sb3_arguments.get("use_sde", False):
            raise UserError("use_sde=True is not supported: exploration is per action")
        self.method = method
        self.num_tasks = num_tasks
        self.reset_buffer = reset_buffer
        self.reset_optimizers = reset_optimizers
        self.reset_entropy = reset_entropy
        self.task_id = 0
        self._task_steps = 0  # of all environments together, since the task began
        self._updates_per_step = updates_per_step
        self._updates_owed = 0.0
        self._components: dict[str, Component] = {
            "actor": SACActor(self),
            "critic": SACCritic(self),
        }
        self._entropy: EntropyCoefficient | None = None
        self._measured: dict[str, list[float]] = defaultdict(list)
        policy_kwargs = dict(sb3_arguments.pop("policy_kwargs", None) or {})
        policy_kwargs.setdefault("optimizer_kwargs", {"fused": True})
        policy_kwargs["num_tasks"] = num_tasks
        policy_kwargs["build_network"] = self._build_network
        super().__init__(policy, env, policy_kwargs=policy_kwargs, **sb3_arguments)

    @classmethod
    def build(
        cls,
        env: VecEnv,
        *,
        num_tasks: int,
        method: ContinualMethod | None,
        seed: int,
        hidden: Sequence[int] = (128, 128),
        layer_norm: bool = True,
        learning_rate: float = 1e-3,
        batch_size: int = 256,
        gamma: float = 0.97,
        tau: float = 0.005,
        ent_coef: str | float = "auto_0.1",
        target_entropy: str | float = "auto",
        buffer_size: int = 1_000_000,
        learning_starts: int = 500,
        updates_per_step: float = 0.5,
        reset_buffer: bool = True,
        reset_optimizers: bool = True,
        reset_entropy: bool = True,
    ) -> SAC:
        """Build the agent as benchmark runs use it.

        Args:
            env: Training environment of the first task to learn.
            num_tasks: Number of tasks in the sequence.
            method: The continual method.
            seed: Of networks, exploration and replay.
            hidden: Units of each hidden layer, of the actor and of each critic.
            layer_norm: LayerNorm and tanh after the first layer.
            learning_rate: Of all optimizers.
            batch_size: Transitions in an update.
            gamma: Discount per control step.
            tau: Step of the target critics towards the critics at each update.
            ent_coef: "auto", "auto_INITIAL" or a fixed entropy coefficient.
            target_entropy: "auto" is −action_dim.
            buffer_size: Transitions kept for replay.
            learning_starts: Random environment steps at the beginning of each task.
            updates_per_step: Updates for each environment step; they are done after a step of all
                environments together, and fractions of an update are owed to later steps.
            reset_buffer: See the class.
            reset_optimizers: See the class.
            reset_entropy: See the class.

        Raises:
            ValueError: A number outside its range.
        """
        _check("hidden", hidden, len(hidden) > 0 and min(hidden) > 0, "one or more layer sizes")
        _check("learning_rate", learning_rate, 0 < learning_rate < math.inf, "positive")
        _check("batch_size", batch_size, batch_size > 0, "at least 1")
        _check("gamma", gamma, 0 <= gamma <= 1, "in [0, 1]")
        _check("tau", tau, 0 < tau <= 1, "in (0, 1]")
        _check("buffer_size", buffer_size, buffer_size >= env.num_envs, f"at least {env.num_envs}")
        _check("learning_starts", learning_starts, learning_starts >= 0, "at least 0")
        _check("updates_per_step", updates_per_step, 0 < updates_per_step < math.inf, "positive")
        agent = cls(
            "MlpPolicy",
            env,
            method,
            num_tasks=num_tasks,
            reset_buffer=reset_buffer,
            reset_optimizers=reset_optimizers,
            reset_entropy=reset_entropy,
            updates_per_step=updates_per_step,
            policy_kwargs={"net_arch": list(hidden), "layer_norm": layer_norm},
            learning_rate=learning_rate,
            batch_size=batch_size,
            gamma=gamma,
            tau=tau,
            ent_coef=ent_coef,
            target_entropy=target_entropy,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            seed=seed,
            device="cpu",
        )
        agent.set_logger(Logger(folder=None, output_formats=[]))  # the run folder has its own log
        return agent

    @property
    def components(self) -> Mapping[str, Component]:
        """What continual methods act on: "actor" and "critic"."""
        return self._components

    def entropy_coefficient(self, observations: Tensor) -> Tensor:
        """α for each row, (n,) or one value for all; no gradient."""
        if self._entropy is None:
            return self.ent_coef_tensor
        with torch.no_grad():
            return self._entropy.forward(observations).exp()

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update critic, actor, entropy coefficient and target critics `gradient_steps` times."""
        if self._updates_per_step is not None:
            self._updates_owed += self._updates_per_step * self.n_envs
            gradient_steps = int(self._updates_owed + 1e-9)  # 10 × 0.1 is a whole update
            self._updates_owed -= gradient_steps
        self._update(gradient_steps, batch_size)

    def rehearse(self, updates: int) -> None:
        """Update all components on the replay buffer, without new experience."""
        self._update(updates, self.batch_size)

    def _update(self, gradient_steps: int, batch_size: int) -> None:
        if gradient_steps == 0:
            return
        self.policy.set_training_mode(True)
        optimizers = [component.optimizer for component in self._components.values()]
        if self._entropy is not None:
            optimizers.append(self._entropy.optimizer)
        self._update_learning_rate(optimizers)

        for step in range(gradient_steps):
            batch = self._sample_batch(batch_size)
            actions, log_prob = self.actor.action_log_prob(batch["observations"])
            on_policy = {"policy_actions": actions, "policy_log_prob": log_prob}
            self._record("critic", gradient_step(self._components["critic"], batch, self.method))
            self._record(
                "actor", gradient_step(self._components["actor"], batch | on_policy, self.method)
            )
            if self._entropy is not None:
                self._record("entropy", gradient_step(self._entropy, batch | on_policy))
            if step % self.target_update_interval == 0:
                self._update_target()

        self._n_updates += gradient_steps
        self._measured["entropy_coefficient"].append(
            float(self.entropy_coefficient(batch["observations"]).mean())
        )

    def begin_task(self, task_id: int, env: VecEnv) -> None:
        """Switch to a task: new environment, resets, then the method's `begin_task`."""
        self.set_env(env)
        # The random actions that a task begins with follow the caller's seed, not the last task.
        self.action_space.seed(int(np.random.randint(2**31)))  # noqa: NPY002 (the seeded one)
        previous, self.task_id = self.task_id, task_id
        self._task_steps, self._updates_owed = 0, 0.0
        if self.reset_buffer:
            self.replay_buffer.reset()
        if self.reset_optimizers:
            for component in self._components.values():
                component.optimizer.state.clear()
            if self._entropy is not None:
                self._entropy.optimizer.state.clear()
        if self._entropy is not None and not self.reset_entropy:
            with torch.no_grad():
                self._entropy.log_value[task_id] = self._entropy.log_value[previous]
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
        """Means of losses, penalties and entropy coefficient since the last call."""
        means = {name: float(np.mean(values)) for name, values in self._measured.items()}
        self._measured.clear()
        return means

    def state_dict(self) -> StateTree:
        """Networks, optimizers, entropy coefficients, method, and the buffer if it is kept."""
        state: dict[str, Any] = {
            "policy": self.policy.state_dict(),
            "optimizers": {
                name: component.optimizer.state_dict()
                for name, component in self._components.items()
            },
            "task_id": self.task_id,
            "n_updates": self._n_updates,
        }
        if self._entropy is not None:
            state["entropy"] = self._entropy.state_dict()
            state["optimizers"]["entropy"] = self._entropy.optimizer.state_dict()
        if self.method is not None:
            state["method"] = self.method.state_dict()
        if not self.reset_buffer:
            state["replay_buffer"] = buffer_state(self.replay_buffer)
        return state

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict` of an agent built with the same arguments."""
        self.policy.load_state_dict(state["policy"])
        for name, component in self._components.items():
            component.optimizer.load_state_dict(state["optimizers"][name])
        if self._entropy is not None:
            self._entropy.load_state_dict(state["entropy"])
            self._entropy.optimizer.load_state_dict(state["optimizers"]["entropy"])
        self.task_id = state["task_id"]
        self._n_updates = state["n_updates"]
        if self.method is not None:
            self.method.load_state_dict(state["method"])
        if not self.reset_buffer:
            load_buffer_state(self.replay_buffer, state["replay_buffer"])

    def _build_network(self, role: Role, spec: NetworkSpec) -> nn.Module:
        if self.method is None or not self.method.acts_on(role):
            return build_plain_network(role, spec)
        return self.method.build_network(spec)

    def _setup_model(self) -> None:
        super()._setup_model()
        self._critic_parameters: list[Tensor] = list(self.critic.parameters())
        self._target_parameters: list[Tensor] = list(self.critic_target.parameters())
        if self.ent_coef_optimizer is not None:
            assert self.log_ent_coef is not None
            assert isinstance(self.target_entropy, float)
            initial = float(self.log_ent_coef.detach().exp())
            entropy = EntropyCoefficient(self.num_tasks, initial, self.target_entropy)
            entropy.optimizer = Adam(entropy.parameters(), lr=self.lr_schedule(1), fused=True)
            self._entropy = entropy.to(self.device)
            self.log_ent_coef = self._entropy.log_value
            self.ent_coef_optimizer = self._entropy.optimizer  # type: ignore[assignment]

    def _sample_batch(self, batch_size: int) -> Batch:
        sampled = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
        return {name: value for name, value in sampled._asdict().items() if value is not None}

    def _update_target(self) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(self._target_parameters, self._critic_parameters, self.tau)

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


def _check(option: str, value: object, good: bool, allowed: str) -> None:
    if not good:
        raise ValueError(f"{option} must be {allowed}, not {value}")
