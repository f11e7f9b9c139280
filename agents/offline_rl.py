"""Offline reinforcement learning from demonstrations: TD3+BC (Fujimoto & Gu 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.agents.action_bounds import ActionBounds
from lifelong_rl.agents.action_mask import (
    action_dims_of,
    make_mask,
    mask_actions,
    mean_squared_error,
)
from lifelong_rl.agents.actor_critic import Actor, Critic
from lifelong_rl.agents.from_demonstrations import demonstrate, refuse_without
from lifelong_rl.agents.inputs import inputs_space
from lifelong_rl.agents.network_builder import NetworkBuilder
from lifelong_rl.agents.supervised import SupervisedLearner
from lifelong_rl.agents.targets import TargetNetworks
from lifelong_rl.agents.td3 import TD3Actor, TD3Critic
from lifelong_rl.compatibility import Trait
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Batch, Component, gradient_step, split_batch, split_task
from lifelong_rl.learning.devices import move_tree
from lifelong_rl.networks import NetworkSpec
from lifelong_rl.networks.activations import ACTIVATIONS
from lifelong_rl.options import Count, NonNegative, PositiveShare, Share
from lifelong_rl.registry import AGENTS


@AGENTS.register("offline-rl")
class OfflineRL(SupervisedLearner):
    """TD3+BC: TD3 on recorded demonstrations, its policy held near the recorded actions.

    Between `BC` and `SAC`: the data is that of BC for the same seed, and the targets move, as SAC's
    do. Actor and critics are SAC's, with the same initial weights for the same seed. The
    transitions are those of the actions taken, noise included, and so is what the policy is held
    near; the expert's own actions in states that the noise has led to, which BC learns, are not
    known to a reinforcement learner. The states are not normalised as in the paper: observations
    are scaled already, and the networks are to be SAC's.

    Args:
        env: Environment of the first task to learn. It has `demonstrations(episodes, seed, noise)`
            with "observations" and "next_observations" (n, obs_dim), the "actions" taken
            (n, action_dim), "rewards" (n,) and "dones" (n,).
        method: Reacts around the gradient steps of "actor" and "critic"; None for plain learning.
        **arguments: As for `SupervisedLearner`; the seed is also that of the demonstrations.

    Raises:
        UserError: The environment has no demonstrations.

    References:
        Fujimoto & Gu 2021, A minimalist approach to offline reinforcement learning.
        Wolczyk et al. 2021, Continual World: a robotic benchmark for continual reinforcement
        learning.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("continuous actions", "expert")
    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses",)

    @dataclass(frozen=True, kw_only=True)
    class Options(SupervisedLearner.Options):
        """Options of OfflineRL.

        Attributes:
            hidden: Units of each hidden layer, of the actor and of each critic (untuned: as SAC's).
            batch_size: Transitions in an update (untuned: as SAC's).
            updates_per_step: Critic updates for each of the steps that a task is learned for
                (untuned: as SAC's).
            gamma: Discount per control step (untuned: as SAC's).
            tau: Step of the target networks towards the networks at each of the actor's updates
                (untuned: as SAC's).
            alpha: Weight of the critic against the recorded actions (paper: 2.5). The valves need
                less, such as 0.1: so few demonstrations do not tell the critic what nine joints
                could do.
            policy_delay: Critic updates for each update of the actor and the targets (Fujimoto & Gu
                2021). The policy makes as many updates as those of BC and SAC do.
            target_policy_noise: Standard deviation of the noise on the target policy (Fujimoto & Gu
                2021).
            target_noise_clip: Bound of that noise (Fujimoto & Gu 2021).
            episodes: Demonstrations of each task (untuned: as BC's).
            noise: Standard deviation of what is added to the expert's actions while it demonstrates
                (untuned: as BC's).
        """

        gamma: Share = 0.97
        tau: PositiveShare = 0.01
        alpha: NonNegative = 2.5
        policy_delay: Count = 2
        target_policy_noise: NonNegative = 0.2
        target_noise_clip: NonNegative = 0.5
        episodes: Count = 100
        noise: NonNegative = 0.1

    options: Options
    policy: ActorCritic

    def __init__(self, env: Any, method: ContinualMethod | None = None, **arguments: Any) -> None:
        super().__init__(env, method, **arguments)
        self._targets = TargetNetworks(
            (self.critic, self.critic_target), (self.actor, self.actor_target)
        )

    @property
    def actor(self) -> Actor:
        """The policy network; its log standard deviations are not used."""
        return self.policy.actor

    @property
    def actor_target(self) -> Actor:
        """Follows the policy network."""
        return self.policy.actor_target

    @property
    def critic(self) -> Critic:
        """The twin action-value functions."""
        return self.policy.critic

    @property
    def critic_target(self) -> Critic:
        """Follows the action-value functions."""
        return self.policy.critic_target

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions (n, action_dim) for observations (n, obs_dim)."""
        self.policy.eval()
        with torch.no_grad():
            shown = torch.as_tensor(observations, dtype=torch.float32, device=self.device)
            rows, task = split_task(shown, self.num_tasks)
            scaled = self.actor(rows, deterministic=True, task=task).cpu().numpy()
        return self.bounds.unscale(scaled)

    def _make_components(self, make_optimizer: Any) -> dict[str, Component]:
        self._actor_component = OfflineActor(
            self.actor,
            make_optimizer(self.actor.parameters()),
            num_tasks=self.num_tasks,
            critic=self.critic,
            alpha=self.options.alpha,
        )
        self._actor_component.followers = (self.actor_target,)
        self._critic_component = TD3Critic(
            self.critic,
            make_optimizer(self.critic.parameters()),
            num_tasks=self.num_tasks,
            target=self.critic_target,
            gamma=self.options.gamma,
            actor_target=self.actor_target,
            noise=self.options.target_policy_noise,
            noise_clip=self.options.target_noise_clip,
        )
        return {"actor": self._actor_component, "critic": self._critic_component}

    def _make_policy(self, env: Any) -> ActorCritic:
        refuse_without("demonstrations", env, self, "demonstrations")
        space, actions = inputs_space(env.observation_space, self.num_tasks), env.action_space
        self.bounds = ActionBounds(actions.low, actions.high)
        return ActorCritic(
            NetworkBuilder(self.method),
            NetworkSpec(
                input_dim=space.shape[0],  # type: ignore[index]
                hidden=self.options.hidden,
                outputs=actions.shape * 2,
                num_tasks=self.num_tasks,
                activation=ACTIVATIONS[self.options.activation],
                layer_norm=self.options.layer_norm,
            ),
            action_dims_of(env, self.num_tasks),
        )

    def _load_data(self, task_id: int, env: Any) -> Batch:
        options = self.options
        shown = demonstrate(
            env, task_id, episodes=options.episodes, seed=self.seed, noise=options.noise
        )
        columns = {
            "observations": shown["observations"],
            "actions": self.bounds.scale(shown["actions"]),
            "next_observations": shown["next_observations"],
            "rewards": shown["rewards"][:, None],
            "dones": shown["dones"][:, None],
        }
        shown_rows = {
            name: torch.as_tensor(values, dtype=torch.float32) for name, values in columns.items()
        }
        batch = move_tree(split_batch(shown_rows, self.num_tasks), self.device)
        return mask_actions(batch, self.actor.mask)

    def _step(self, batch: Batch) -> None:
        self._record("critic", gradient_step(self._critic_component, batch, self.method))
        if self._n_updates % self.options.policy_delay == 0:
            self._record("actor", gradient_step(self._actor_component, batch, self.method))
            self._targets.update(self.options.tau)


class OfflineActor(TD3Actor):
    """The deterministic policy as a component.

    Batch: "observations" (n, obs_dim) and the recorded "actions" (n, action_dim) in [-1, 1].

    Args:
        module: The policy.
        optimizer: Steps its parameters.
        num_tasks: See `AgentComponent`.
        critic: What it is to make large.
        alpha: Weight of that against the recorded actions.
    """

    def __init__(
        self, module: Actor, optimizer: Optimizer, *, num_tasks: int, critic: Critic, alpha: float
    ) -> None:
        super().__init__(module, optimizer, num_tasks=num_tasks, critic=critic)
        self.alpha = alpha

    def loss(self, batch: Batch) -> Tensor:
        """Mean of (π(s) − a)² − λ Q₁(s, π(s)), with λ = α / mean |Q₁| (Fujimoto & Gu 2021, eq. 5).

        The square is the mean over the entries that count. λ is that of the batch's rows, whatever
        their tasks, and has no gradient.
        """
        observations, task = batch["observations"], batch.get("task")
        actions = torch.tanh(self.module.mean(observations, task))
        values = self.critic(observations, actions, task)[0]
        weight = self.alpha / values.detach().abs().mean()
        error = mean_squared_error(actions, batch["actions"], task, self.module.mask)
        loss: Tensor = error - weight * values.mean()
        return loss


class ActorCritic(nn.Module):
    """The networks of SAC, made in its order from the same draws, and a target of the actor.

    Args:
        build_network: Makes each network.
        actor: The shape of the actor's; the critics have the same trunk and the actions as inputs.
        action_dims: Leading entries of an action that count in each task; None for all.
    """

    def __init__(
        self,
        build_network: NetworkBuilder,
        actor: NetworkSpec,
        action_dims: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        critic = replace(
            actor,
            input_dim=actor.input_dim + actor.outputs[0],
            outputs=(1,),
            copies=2,
        )
        mask = make_mask(action_dims, actor.outputs[0])
        self.actor = Actor(build_network("policy", actor), mask=mask)
        self.critic = Critic(build_network("value", critic), mask=mask)
        self.critic_target = Critic(build_network("value", critic), mask=mask)
        self.actor_target = Actor(build_network("policy", actor), mask=mask)
        self.critic_target.load_state_dict(self.critic.state_dict())
        self.actor_target.load_state_dict(self.actor.state_dict())
