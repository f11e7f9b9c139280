"""Proximal policy optimisation (Schulman et al. 2017) as a component for continual methods."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import stable_baselines3 as sb3
import torch
from annotated_types import Ge
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F
from torch.optim import Optimizer

from lifelong_rl.agents.components import AgentComponent, gaussian
from lifelong_rl.agents.learner import ContinualLearner
from lifelong_rl.agents.ppo_policy import ContinualPPOPolicy
from lifelong_rl.compatibility import Trait
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import NonFiniteError
from lifelong_rl.learning import Batch, StateTree, gradient_step, split_batch
from lifelong_rl.learning.devices import move_tree
from lifelong_rl.learning.protocols import Pause, Progress, no_pause
from lifelong_rl.networks.activations import ACTIVATIONS
from lifelong_rl.options import Activation, Count, OptionError, Positive, Share
from lifelong_rl.registry import AGENTS


@AGENTS.register("ppo")
class PPO(ContinualLearner, sb3.PPO):
    """Stable-Baselines3's PPO with every gradient step open to a continual method.

    Without a method it learns what Stable-Baselines3's PPO learns: the same parameters from the
    same seed, to within rounding. Policy and value have one optimizer and one loss, so they are one
    component, "policy"; its loss holds for fresh experience only and cannot be replayed.

    Args:
        policy: "MlpPolicy" or a subclass of `ContinualPPOPolicy`.
        env: As for Stable-Baselines3.
        method: Reacts around the gradient steps; None for plain learning.
        kept_rows: See `Options`.
        **arguments: As for `ContinualLearner`, and for Stable-Baselines3's PPO.

    References:
        Schulman et al. 2017, Proximal policy optimization algorithms.
        Wolczyk et al. 2021, Continual World: a robotic benchmark for continual reinforcement
        learning.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("continuous actions",)
    offers: ClassVar[tuple[Trait, ...]] = ()

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualLearner.Options):
        """Options of PPO.

        Attributes:
            hidden: Units of each hidden layer, of the policy and of the value (untuned: as SAC's).
            activation: What follows each hidden layer (Stable-Baselines3's default).
            rollout_steps: Steps of each environment between updates (untuned: an episode of most
                tasks).
            batch_size: Rows in an update; it must divide those of a rollout (untuned: a quarter of
                what 16 environments collect).
            epochs: Times that each row is used (Schulman et al. 2017, table 3).
            gamma: Discount per control step (untuned: as SAC's).
            gae_lambda: λ of the advantages' estimate (Schulman et al. 2017, table 3).
            clip_range: ε of the clipped surrogate (Schulman et al. 2017, section 6.1).
            ent_coef: Weight of the entropy (none, as in Schulman et al. 2017, section 6.1).
            vf_coef: Weight of the value's loss (Stable-Baselines3's default).
            max_grad_norm: Bound of the gradient's norm (Stable-Baselines3's default).
            log_std_init: Log standard deviation of the actions at first (untuned;
                Stable-Baselines3's default is 0).
            kept_rows: The latest rows of experience that a task leaves to its method (untuned: as
                many as `replay` keeps).
        """

        activation: Activation = "tanh"
        rollout_steps: Count = 50
        batch_size: Annotated[int, Ge(2)] = 200
        epochs: Count = 10
        gamma: Share = 0.97
        gae_lambda: Share = 0.95
        clip_range: Positive = 0.2
        ent_coef: float = 0.0
        vf_coef: float = 0.5
        max_grad_norm: Positive = 0.5
        log_std_init: float = -0.5
        kept_rows: Count = 10_000

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": ContinualPPOPolicy}
    policy: ContinualPPOPolicy

    def __init__(
        self,
        policy: str | type[ContinualPPOPolicy],
        env: GymEnv | str,
        method: ContinualMethod | None = None,
        *,
        kept_rows: int = 10_000,
        **arguments: Any,
    ) -> None:
        self.kept_rows = kept_rows
        self._kept: deque[Batch] = deque()  # one entry a rollout
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
        **options: Any,
    ) -> PPO:
        """Build the agent as benchmark runs use it.

        Args:
            env: Training environment of the first task to learn.
            num_tasks: Number of tasks in the sequence.
            method: The continual method.
            seed: Of networks and exploration.
            device: That the networks are on.
            **options: See `Options`.

        Raises:
            UnknownNameError: There is no such option.
            OptionError: An option does not allow the value.
        """
        chosen = cls.Options.of(None, options)
        rows = chosen.rollout_steps * env.num_envs
        if rows % chosen.batch_size:
            allowed = f"a divisor of the {rows} rows of a rollout"
            raise OptionError("batch_size", chosen.owner(), allowed, chosen.batch_size)
        hidden = list(chosen.hidden)
        agent = cls(
            "MlpPolicy",
            env,
            method,
            num_tasks=num_tasks,
            kept_rows=chosen.kept_rows,
            reset_optimizers=chosen.reset_optimizers,
            policy_kwargs={
                "net_arch": {"pi": hidden, "vf": hidden},
                "activation_fn": ACTIVATIONS[chosen.activation],
                "layer_norm": chosen.layer_norm,
                "log_std_init": chosen.log_std_init,
            },
            learning_rate=chosen.learning_rate,
            n_steps=chosen.rollout_steps,
            batch_size=chosen.batch_size,
            n_epochs=chosen.epochs,
            gamma=chosen.gamma,
            gae_lambda=chosen.gae_lambda,
            clip_range=chosen.clip_range,
            ent_coef=chosen.ent_coef,
            vf_coef=chosen.vf_coef,
            max_grad_norm=chosen.max_grad_norm,
            seed=seed,
            device=device,
        )
        agent.set_logger(Logger(folder=None, output_formats=[]))  # the run folder has its own log
        return agent

    def train(self) -> None:
        """Update the policy on the rollout that was just collected."""
        if not np.isfinite(self.rollout_buffer.rewards).all():
            raise NonFiniteError("reward", "environment", float("nan"))
        self._keep_rollout()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        self._component.weights = self._loss_weights()
        for _ in range(self.n_epochs):
            for batch in self._minibatches():
                if self.target_kl is not None and self._divergence(batch) > 1.5 * self.target_kl:
                    self._n_updates += 1
                    return
                self._step(batch)
            self._n_updates += 1

    def rehearse(self, updates: int) -> None:
        """Update on the last rollout again, without new experience."""
        self._component.weights = self._loss_weights()
        rows = self._kept[-1]
        count = len(rows["observations"])
        while updates > 0:
            order = torch.randperm(count, device=self.device)
            for chosen in torch.split(order, self.batch_size)[:updates]:
                self._step({name: values[chosen] for name, values in rows.items()})
                updates -= 1

    def borrow_data(self, other: PPO) -> None:
        """Use the rollouts that the other learner has kept."""
        self._kept = other._kept

    def begin_task(self, task_id: int, env: VecEnv) -> None:
        """Switch to a task: new environment, resets, then the method's `begin_task`."""
        self._kept.clear()
        super().begin_task(task_id, env)

    def learn_task(self, steps: int, progress: Progress, pause: Pause = no_pause) -> None:
        """Learn the current task for `steps` environment steps, rounded up to whole rollouts.

        It pauses between them.
        """
        self._learn(steps, progress, pause)

    def task_state(self) -> StateTree | None:
        """See `ContinualLearner`; the rollouts that are kept too."""
        state = super().task_state()
        if state is None:
            return None
        return {**state, "task": {**state["task"], "kept": list(self._kept)}}

    def load_task_state(self, state: StateTree, env: VecEnv) -> None:
        """See `ContinualLearner`."""
        super().load_task_state(state, env)
        self._kept.clear()
        self._kept.extend(move_tree(rows, self.device) for rows in state["task"]["kept"])

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        """The latest `kept_rows` rows of the current task's experience, oldest first."""
        for rows in self._kept:
            count = len(rows["observations"])
            for first in range(0, count, batch_size):
                yield {k: v[first : first + batch_size] for k, v in rows.items()}

    def _setup_model(self) -> None:
        super()._setup_model()
        self._component = PPOPolicy(
            self.policy,
            self.policy.optimizer,
            num_tasks=self.num_tasks,
            weights=self._loss_weights(),
        )
        self._components = {"policy": self._component}

    def _loss_weights(self) -> LossWeights:
        """The weights as they are now: some follow a schedule, and callbacks may change all."""
        progress = self._current_progress_remaining
        assert callable(self.clip_range)
        clip_values = self.clip_range_vf
        return LossWeights(
            clip=self.clip_range(progress),
            clip_values=clip_values(progress) if callable(clip_values) else clip_values,
            entropy=self.ent_coef,
            value=self.vf_coef,
            normalize_advantage=self.normalize_advantage,
        )

    def _minibatches(self) -> Iterator[Batch]:
        for rows in self.rollout_buffer.get(self.batch_size):
            yield split_batch(rows._asdict(), self.num_tasks)

    def _step(self, batch: Batch) -> None:
        with self.update_clock.measure():
            measured = gradient_step(
                self._component, batch, self.method, max_grad_norm=self.max_grad_norm
            )
        self._record("policy", measured)

    def _divergence(self, batch: Batch) -> float:
        """Estimate of KL(old ‖ new) on a batch, as Stable-Baselines3 computes it."""
        with torch.no_grad():
            distribution = self.policy.distribution(batch["observations"], batch.get("task"))
            log_ratio = distribution.log_prob(batch["actions"]) - batch["old_log_prob"]
            return float(((log_ratio.exp() - 1) - log_ratio).mean())

    def _keep_rollout(self) -> None:
        buffer = self.rollout_buffer
        arrays = {
            "observations": buffer.observations,
            "actions": buffer.actions,
            "old_values": buffer.values,
            "old_log_prob": buffer.log_probs,
            "advantages": buffer.advantages,
            "returns": buffer.returns,
        }
        one = ("observations", "actions")
        rollout = {
            name: buffer.to_torch(
                values.reshape(-1, *values.shape[2:]) if name in one else values.reshape(-1)
            )
            for name, values in arrays.items()
        }
        self._kept.append(split_batch(rollout, self.num_tasks))
        rows = len(self._kept[-1]["observations"])
        while len(self._kept) > 1 and (len(self._kept) - 1) * rows >= self.kept_rows:
            self._kept.popleft()


@dataclass(frozen=True)
class LossWeights:
    """What the loss is made of.

    Attributes:
        clip: ε of the clipped surrogate.
        clip_values: Bound of the change of values; None for none.
        entropy: Weight of the entropy.
        value: Weight of the value's loss.
        normalize_advantage: Whether each batch's advantages are normalised.
    """

    clip: float
    clip_values: float | None
    entropy: float
    value: float
    normalize_advantage: bool


class PPOPolicy(AgentComponent):
    """Policy and value as one component.

    Batch: "observations" (n, obs_dim), "actions" (n, action_dim), and (n,) each "old_log_prob",
    "old_values", "advantages" and "returns".

    Args:
        module: Policy and value.
        optimizer: Steps their parameters.
        num_tasks: See `AgentComponent`.
        weights: What the loss is made of.
    """

    name = "policy"
    replayable = False
    module: ContinualPPOPolicy

    def __init__(
        self,
        module: ContinualPPOPolicy,
        optimizer: Optimizer,
        *,
        num_tasks: int,
        weights: LossWeights,
    ) -> None:
        super().__init__(module, optimizer, num_tasks=num_tasks)
        self.weights = weights

    def loss(self, batch: Batch) -> Tensor:
        """Clipped surrogate, value error and entropy (Schulman et al. 2017, eq. 7 and 9)."""
        weights = self.weights
        observations, task = batch["observations"], batch.get("task")
        distribution = self.module.distribution(observations, task)
        values = self.module.values(observations, task).flatten()
        log_prob, entropy = distribution.log_prob(batch["actions"]), distribution.entropy()
        advantages = batch["advantages"]
        if weights.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        ratio = torch.exp(log_prob - batch["old_log_prob"])
        clipped = torch.clamp(ratio, 1 - weights.clip, 1 + weights.clip)
        surrogate = torch.min(advantages * ratio, advantages * clipped).mean()
        if weights.clip_values is not None:
            bound = weights.clip_values
            change = torch.clamp(values - batch["old_values"], -bound, bound)
            values = batch["old_values"] + change
        value_loss = F.mse_loss(batch["returns"], values)
        loss: Tensor = -surrogate - weights.entropy * entropy.mean() + weights.value * value_loss
        return loss

    def predict(self, batch: Batch) -> Distribution:
        """The Gaussian that actions are drawn from."""
        mean, log_std = self.module.gaussian(batch["observations"], batch.get("task"))
        return gaussian(mean, log_std.exp())
