"""Soft actor-critic (Haarnoja et al. 2018) as a sequence of components for continual methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import stable_baselines3 as sb3
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from torch.optim import Adam

from lifelong_rl.agents.actor_critic import Actor, Critic
from lifelong_rl.agents.learner import check
from lifelong_rl.agents.off_policy import OffPolicyLearner
from lifelong_rl.agents.policies import ContinualSACPolicy
from lifelong_rl.agents.sac_components import (
    EntropyCoefficient,
    EntropyWeight,
    FixedEntropyCoefficient,
    SACActor,
    SACCritic,
)
from lifelong_rl.agents.targets import TargetNetworks
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Objective, StateTree, gradient_step
from lifelong_rl.vision.eyes import Eyes


class SAC(OffPolicyLearner, sb3.SAC):
    """Stable-Baselines3's SAC with every gradient step open to a continual method.

    Without a method it learns what Stable-Baselines3's SAC learns: the same parameters from the
    same seed, to within the rounding of batched and fused operations.

    Args:
        policy: "MlpPolicy" or a subclass of `ContinualSACPolicy`.
        env: As for Stable-Baselines3.
        method: Reacts around the gradient steps of "actor" and "critic"; None for plain learning.
        reset_entropy: Start each task with the initial entropy coefficient. Without this it starts
            with the last task's.
        **arguments: As for `OffPolicyLearner`, and for Stable-Baselines3's SAC.

    Raises:
        UserError: Arguments that do not go together.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": ContinualSACPolicy}
    policy: ContinualSACPolicy
    actor: Actor  # type: ignore[assignment]
    critic: Critic  # type: ignore[assignment]
    critic_target: Critic  # type: ignore[assignment]

    def __init__(
        self,
        policy: str | type[ContinualSACPolicy],
        env: GymEnv | str,
        method: ContinualMethod | None = None,
        *,
        reset_entropy: bool = True,
        **arguments: Any,
    ) -> None:
        if arguments.get("use_sde", False):
            raise UserError("use_sde=True is not supported: exploration is per action")
        self.reset_entropy = reset_entropy
        self._entropy: EntropyCoefficient | None = None
        super().__init__(policy, env, method, **arguments)

    @classmethod
    def build(
        cls,
        env: VecEnv,
        *,
        num_tasks: int,
        method: ContinualMethod | None,
        seed: int,
        eyes: Eyes | None = None,
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
            eyes: What the agent sees with, if the environments show pictures.
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
            UserError: The eyes fit neither the environments nor the method.
        """
        check("hidden", hidden, len(hidden) > 0 and min(hidden) > 0, "one or more layer sizes")
        check("learning_rate", learning_rate, 0 < learning_rate < math.inf, "positive")
        check("batch_size", batch_size, batch_size > 0, "at least 1")
        check("gamma", gamma, 0 <= gamma <= 1, "in [0, 1]")
        check("tau", tau, 0 < tau <= 1, "in (0, 1]")
        check("buffer_size", buffer_size, buffer_size >= env.num_envs, f"at least {env.num_envs}")
        check("learning_starts", learning_starts, learning_starts >= 0, "at least 0")
        check("updates_per_step", updates_per_step, 0 < updates_per_step < math.inf, "positive")
        agent = cls(
            "MlpPolicy",
            env,
            method,
            num_tasks=num_tasks,
            eyes=eyes,
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
    def objectives(self) -> Mapping[str, Objective]:
        """The components, and the entropy coefficient where it is learned."""
        if self._entropy is None:
            return self._components
        return {**self._components, "entropy": self._entropy}

    def begin_task(self, task_id: int, env: VecEnv) -> None:
        """Switch to a task: new environment, resets, then the method's `begin_task`."""
        if self._entropy is not None and not self.reset_entropy:
            with torch.no_grad():
                self._entropy.log_value[task_id] = self._entropy.log_value[self.task_id]
        super().begin_task(task_id, env)

    def state_dict(self) -> StateTree:
        """Networks, optimizers, entropy coefficients, method, and the buffer if it is kept."""
        state = dict(super().state_dict())
        if self._entropy is not None:
            state["entropy"] = self._entropy.state_dict()
        return state

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict` of an agent built with the same arguments."""
        super().load_state_dict(state)
        if self._entropy is not None:
            self._entropy.load_state_dict(state["entropy"])

    def _train(self, gradient_steps: int, batch_size: int) -> None:
        if gradient_steps == 0:
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate([o.optimizer for o in self.objectives.values()])
        actor, critic = self._actor_component, self._critic_component
        critic.gamma = self.gamma  # a callback may have changed it

        for step in range(gradient_steps):
            batch = self._sample_batch(batch_size)
            actions, log_prob = self.actor.action_log_prob(batch["observations"], batch.get("task"))
            on_policy = {"policy_actions": actions, "policy_log_prob": log_prob}
            self._record("critic", gradient_step(critic, batch, self.method))
            self._record("actor", gradient_step(actor, batch | on_policy, self.method))
            if self._entropy is not None:
                self._record("entropy", gradient_step(self._entropy, batch | on_policy))
            if step % self.target_update_interval == 0:
                self._targets.update(self.tau)

        self._n_updates += gradient_steps
        self._measured["entropy_coefficient"].append(
            float(actor.entropy.alpha(batch.get("task")).mean())
        )

    def _setup_model(self) -> None:
        super()._setup_model()
        self._targets = TargetNetworks((self.critic, self.critic_target))
        weight: EntropyWeight
        if self.ent_coef_optimizer is not None:
            assert self.log_ent_coef is not None
            assert isinstance(self.target_entropy, float)
            initial = float(self.log_ent_coef.detach().exp())
            entropy = EntropyCoefficient(self.num_tasks, initial, self.target_entropy)
            entropy.optimizer = Adam(entropy.parameters(), lr=self.lr_schedule(1), fused=True)
            self._entropy = weight = entropy.to(self.device)
            self.log_ent_coef = self._entropy.log_value
            self.ent_coef_optimizer = self._entropy.optimizer  # type: ignore[assignment]
        else:
            self._entropy, weight = None, FixedEntropyCoefficient(self.ent_coef_tensor)
        self._actor_component = SACActor(
            self.actor,
            self.actor.optimizer,
            num_tasks=self.num_tasks,
            critic=self.critic,
            entropy=weight,
        )
        self._critic_component = SACCritic(
            self.critic,
            self.critic.optimizer,
            num_tasks=self.num_tasks,
            target=self.critic_target,
            gamma=self.gamma,
            actor=self.actor,
            entropy=weight,
        )
        self._components = {"actor": self._actor_component, "critic": self._critic_component}
