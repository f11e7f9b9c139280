"""Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018) as components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import stable_baselines3 as sb3
import torch
from annotated_types import Interval
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.distributions import Distribution
from torch.optim import Optimizer

from lifelong_rl.agents.actor_critic import Actor, Critic, DeterministicActor
from lifelong_rl.agents.components import AgentComponent, TwinCritic, gaussian
from lifelong_rl.agents.off_policy import OffPolicyLearner
from lifelong_rl.agents.policies import ContinualTD3Policy
from lifelong_rl.agents.targets import TargetNetworks
from lifelong_rl.compatibility import Trait
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Batch
from lifelong_rl.learning.protocols import Gradient
from lifelong_rl.options import Count, NonNegative
from lifelong_rl.registry import AGENTS


@AGENTS.register("td3")
class TD3(OffPolicyLearner, sb3.TD3):
    """Stable-Baselines3's TD3 with every gradient step open to a continual method.

    Without a method it learns what Stable-Baselines3's TD3 learns: the same parameters from the
    same seed, to within the rounding of batched and fused operations. The arguments are those of
    `OffPolicyLearner` and of Stable-Baselines3's TD3.

    References:
        Fujimoto et al. 2018, Addressing function approximation error in actor-critic methods.
        Haarnoja et al. 2018b, Soft actor-critic algorithms and applications.
        Wolczyk et al. 2021, Continual World: a robotic benchmark for continual reinforcement
        learning.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("continuous actions",)
    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses",)

    @dataclass(frozen=True, kw_only=True)
    class Options(OffPolicyLearner.Options):
        """Options of TD3.

        Attributes:
            tau: Step of the target networks towards the networks at each of the actor's updates
                (Fujimoto et al. 2018, section 6.1).
            exploration_noise: Standard deviation of the noise added to actions (untuned: twice that
                of Fujimoto et al. 2018).
            policy_delay: Critic updates for each update of the actor (Fujimoto et al. 2018, section
                6.1).
            target_policy_noise: Standard deviation of the noise on the target policy (Fujimoto et
                al. 2018, section 6.1).
            target_noise_clip: Bound of that noise (Fujimoto et al. 2018, section 6.1).
        """

        exploration_noise: Annotated[float, Interval(ge=0, lt=10)] = 0.2
        policy_delay: Count = 2
        target_policy_noise: NonNegative = 0.2
        target_noise_clip: NonNegative = 0.5

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": ContinualTD3Policy}
    policy: ContinualTD3Policy
    actor: DeterministicActor  # type: ignore[assignment]
    actor_target: DeterministicActor  # type: ignore[assignment]
    critic: Critic  # type: ignore[assignment]
    critic_target: Critic  # type: ignore[assignment]

    @classmethod
    def build(
        cls,
        env: VecEnv,
        *,
        num_tasks: int,
        method: ContinualMethod | None,
        seed: int,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> TD3:
        """Build the agent as benchmark runs use it.

        Args:
            env: Training environment of the first task to learn.
            num_tasks: Number of tasks in the sequence.
            method: The continual method.
            seed: Of networks, exploration and replay.
            device: That the networks are on.
            **options: See `Options`.

        Raises:
            UnknownNameError: There is no such option.
            OptionError: An option does not allow the value.
        """
        chosen = cls.Options.of(None, options)
        shape = env.action_space.shape
        assert shape is not None
        noise = NormalActionNoise(np.zeros(shape), np.full(shape, chosen.exploration_noise))
        agent = cls(
            "MlpPolicy",
            env,
            method,
            num_tasks=num_tasks,
            action_noise=VectorizedActionNoise(noise, env.num_envs),
            policy_delay=chosen.policy_delay,
            target_policy_noise=chosen.target_policy_noise,
            target_noise_clip=chosen.target_noise_clip,
            seed=seed,
            device=device,
            **chosen.as_arguments(env.num_envs),
        )
        agent.set_logger(Logger(folder=None, output_formats=[]))  # the run folder has its own log
        return agent

    def _train(self, gradient_steps: int, batch_size: int) -> None:
        self.policy.set_training_mode(True)
        self._update_learning_rate([o.optimizer for o in self.objectives.values()])
        actor, critic = self._actor_component, self._critic_component
        critic.gamma = self.gamma  # a callback may have changed these
        critic.noise, critic.noise_clip = self.target_policy_noise, self.target_noise_clip
        for _ in range(gradient_steps):
            self._n_updates += 1
            batch = self._sample_batch(batch_size)
            self._step("critic", critic, batch, self.method)
            if self._n_updates % self.policy_delay == 0:
                self._step("actor", actor, batch, self.method)
                self._targets.update(self.tau)

    def _setup_model(self) -> None:
        super()._setup_model()
        self._targets = TargetNetworks(
            (self.critic, self.critic_target), (self.actor, self.actor_target)
        )
        self._actor_component = TD3Actor(
            self.actor, self.actor.optimizer, num_tasks=self.num_tasks, critic=self.critic
        )
        self._actor_component.followers = (self.actor_target,)
        self._critic_component = TD3Critic(
            self.critic,
            self.critic.optimizer,
            num_tasks=self.num_tasks,
            target=self.critic_target,
            gamma=self.gamma,
            actor_target=self.actor_target,
            noise=self.target_policy_noise,
            noise_clip=self.target_noise_clip,
        )
        self._components = {"actor": self._actor_component, "critic": self._critic_component}


class TD3Actor(AgentComponent):
    """The deterministic policy as a component. Batch: "observations" (n, obs_dim).

    Args:
        module: The policy.
        optimizer: Steps its parameters.
        num_tasks: See `AgentComponent`.
        critic: What it is to make large.
    """

    name = "actor"
    module: Actor | DeterministicActor

    def __init__(
        self,
        module: Actor | DeterministicActor,
        optimizer: Optimizer,
        *,
        num_tasks: int,
        critic: Critic,
    ) -> None:
        super().__init__(module, optimizer, num_tasks=num_tasks)
        self.critic = critic

    @torch.no_grad()
    def analytic_gradient(self, batch: Batch) -> Gradient | None:
        """See `AgentComponent`."""
        policy, critic, task = self.module.traced, self.critic.traced, batch.get("task")
        if policy is None or critic is None or type(self) is not TD3Actor:
            return None
        observations = self.module.features(batch["observations"])
        outputs, trace = policy.trace(observations, task)
        actions = self.module.masked(outputs[0].tanh(), task)
        n, dim = actions.shape
        inputs = torch.cat([observations, actions], dim=1)
        values, of_values = critic.trace(inputs, task)
        loss = -values[0].mean()
        by_value = torch.zeros_like(values)
        by_value[0] = -1 / n
        _, by_input = critic.pull(of_values, by_value, parameters=False, inputs=True)
        assert by_input is not None
        by_mean = (1 - actions.square()).mul_(by_input[:, -dim:])
        by_mean = self.module.masked(by_mean, task)
        return loss, policy.pull(trace, by_mean.unsqueeze(0))[0]

    def loss(self, batch: Batch) -> Tensor:
        """Mean of −Q₁(s, π(s)) (Fujimoto et al. 2018, algorithm 1)."""
        observations, task = batch["observations"], batch.get("task")
        actions = torch.tanh(self.module.mean(observations, task))
        values: Tensor = self.critic(observations, actions, task)
        return -values[0].mean()

    def predict(self, batch: Batch) -> Distribution:
        """Normal(action before the squashing tanh, 1)."""
        return gaussian(self.module.mean(batch["observations"], batch.get("task")))


class TD3Critic(TwinCritic):
    """The twin action-value functions as a component.

    Args:
        *critic: As for `TwinCritic`.
        actor_target: Follows the policy whose values they are.
        noise: Standard deviation of the noise on the target policy.
        noise_clip: Bound of that noise.
        **more: As for `TwinCritic`.
    """

    def __init__(
        self,
        *critic: Any,
        actor_target: Actor | DeterministicActor,
        noise: float,
        noise_clip: float,
        **more: Any,
    ) -> None:
        super().__init__(*critic, **more)
        self.actor_target = actor_target
        self.noise = noise
        self.noise_clip = noise_clip

    def next_values(self, batch: Batch) -> Tensor:
        """Values of the smoothed target policy's actions (Fujimoto et al. 2018, algorithm 1)."""
        next_observations, task = batch["next_observations"], batch.get("task")
        noise = torch.randn_like(batch["actions"]) * self.noise
        noise = noise.clamp(-self.noise_clip, self.noise_clip)
        next_actions = torch.tanh(self.actor_target.mean(next_observations, task))
        next_actions = (next_actions + noise).clamp(-1, 1)
        values: Tensor = self.target(next_observations, next_actions, task).amin(dim=0)
        return values
