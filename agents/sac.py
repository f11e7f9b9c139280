"""Soft actor-critic (Haarnoja et al. 2018) as a sequence of components for continual methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import stable_baselines3 as sb3
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from lifelong_rl.agents.actor_critic import Actor, Critic
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
from lifelong_rl.compatibility import Trait
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Objective, StateTree
from lifelong_rl.learning.adam import FusedAdam
from lifelong_rl.options import Count, Matches, NonNegative, PositiveShare
from lifelong_rl.registry import AGENTS
from lifelong_rl.vision.eyes import Eyes


@AGENTS.register("sac")
class SAC(OffPolicyLearner, sb3.SAC):
    """Stable-Baselines3's SAC with every gradient step open to a continual method.

    Without a method it learns what Stable-Baselines3's SAC learns: the same parameters from the
    same seed, to within the rounding of batched and fused operations.

    Args:
        policy: "MlpPolicy" or a subclass of `ContinualSACPolicy`.
        env: As for Stable-Baselines3.
        method: Reacts around the gradient steps of "actor" and "critic"; None for plain learning.
        policy_delay: See `Options`.
        reset_entropy: See `Options`.
        **arguments: As for `OffPolicyLearner`, and for Stable-Baselines3's SAC.

    Raises:
        UserError: Arguments that do not go together.

    References:
        Haarnoja et al. 2018b, Soft actor-critic algorithms and applications.
        Wolczyk et al. 2021, Continual World: a robotic benchmark for continual reinforcement
        learning.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("continuous actions",)
    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses",)

    @dataclass(frozen=True, kw_only=True)
    class Options(OffPolicyLearner.Options):
        """Options of SAC.

        Attributes:
            tau: Step of the target critics towards the critics at each update (measured, see
                docs/settings.md; 0.005 in Haarnoja et al. 2018b, table 1).
            ent_coef: A fixed entropy coefficient, or auto, which learns it from 1 on, or
                auto_INITIAL (learned as in Haarnoja et al. 2018b, section 5; its start is untuned).
            target_entropy: Of the policy where the coefficient is learned; auto is −action_dim
                of each task (Haarnoja et al. 2018b, table 1).
            policy_delay: Critic updates for each update of the actor and the entropy coefficient
                (Fujimoto et al. 2018, section 6.1; measured, see docs/settings.md).
            reset_entropy: Start each task with the initial entropy coefficient (as Continual
                World's implementation, with a coefficient for each task). Without this it starts
                with the last task's.
        """

        tau: PositiveShare = 0.01
        ent_coef: (
            NonNegative | Annotated[str, Matches(r"auto(_\d[\d.e+-]*)?", "auto or auto_INITIAL")]
        ) = "auto_0.1"
        target_entropy: Literal["auto"] | float = "auto"
        policy_delay: Count = 2
        reset_entropy: bool = True

    sees = True
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
        policy_delay: int = 1,
        reset_entropy: bool = True,
        **arguments: Any,
    ) -> None:
        if arguments.get("use_sde", False):
            raise UserError("use_sde=True is not supported: exploration is per action")
        self.policy_delay = policy_delay
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
        device: torch.device | str = "cpu",
        eyes: Eyes | None = None,
        **options: Any,
    ) -> SAC:
        """Build the agent as benchmark runs use it.

        Args:
            env: Training environment of the first task to learn.
            num_tasks: Number of tasks in the sequence.
            method: The continual method.
            seed: Of networks, exploration and replay.
            device: That the networks are on.
            eyes: What the agent sees with, if the environments show pictures.
            **options: See `Options`.

        Raises:
            UnknownNameError: There is no such option.
            OptionError: An option does not allow the value.
            UserError: The eyes fit neither the environments nor the method.
        """
        chosen = cls.Options.of(None, options)
        agent = cls(
            "MlpPolicy",
            env,
            method,
            num_tasks=num_tasks,
            eyes=eyes,
            policy_delay=chosen.policy_delay,
            reset_entropy=chosen.reset_entropy,
            ent_coef=chosen.ent_coef,
            target_entropy=chosen.target_entropy,
            seed=seed,
            device=device,
            **chosen.as_arguments(env.num_envs),
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
            self._n_updates += 1
            acts = self._n_updates % self.policy_delay == 0
            batch = self._sample_batch(batch_size)
            on_policy = actor.sample(batch) if acts else {}
            self._step("critic", critic, batch, self.method)
            if acts:
                self._step("actor", actor, batch | on_policy, self.method)
                if self._entropy is not None:
                    self._step("entropy", self._entropy, batch | on_policy)
            if step % self.target_update_interval == 0:
                self._targets.update(self.tau)

        self._measured["entropy_coefficient"].append(
            float(actor.entropy.alpha(batch.get("task")).mean())
        )

    def _setup_model(self) -> None:
        asked, asked_target = self.ent_coef, self.target_entropy
        initial, is_learned = _read_coefficient(asked)
        # a number, also for "auto", for which Stable-Baselines3 would make a coefficient and an
        # optimizer that are replaced below; see `lifelong_rl.learning.adam`
        self.ent_coef = initial
        super()._setup_model()
        self.ent_coef = asked
        self._targets = TargetNetworks((self.critic, self.critic_target))
        weight: EntropyWeight
        if is_learned:
            assert isinstance(self.target_entropy, float)
            target: float | Tensor = self.target_entropy
            if self.actor.mask is not None and asked_target == "auto":
                target = -self.actor.mask.rows.sum(dim=1)
                self.target_entropy = asked_target  # no one number says it
            entropy = EntropyCoefficient(self.num_tasks, initial, target)
            entropy.to(self.device)
            entropy.optimizer = FusedAdam(entropy.parameters(), lr=self.lr_schedule(1))
            self._entropy = weight = entropy
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
            sampler=self._actor_component,
        )
        self._components = {"actor": self._actor_component, "critic": self._critic_component}


def _read_coefficient(coefficient: str | float) -> tuple[float, bool]:
    """The entropy coefficient at first, and whether it is learned, as Stable-Baselines3 means it.

    Args:
        coefficient: A number, "auto" or "auto_INITIAL".

    Raises:
        ValueError: It is something else, or would be learned from 0 or less.
    """
    if not (isinstance(coefficient, str) and coefficient.startswith("auto")):
        return float(coefficient), False
    initial = float(coefficient.partition("_")[2] or 1)
    if initial <= 0:
        raise ValueError(f"ent_coef={coefficient}: what is learned has to start above 0")
    return initial, True
