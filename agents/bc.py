"""Behaviour cloning: the policy of soft actor-critic, learned from an expert's demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lifelong_rl.agents.actor_critic import Actor
from lifelong_rl.agents.demonstrations import (
    check_demonstration_options,
    demonstrate,
    refuse_without,
)
from lifelong_rl.agents.imitation import ImitationLearner
from lifelong_rl.agents.inputs import inputs_space
from lifelong_rl.agents.sight import Sight, open_sight
from lifelong_rl.agents.supervised import check_options
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Batch, split_batch
from lifelong_rl.vision.eyes import Eyes


class BC(ImitationLearner):
    """Behaviour cloning: supervised learning of an expert's actions in a task.

    The supervised twin of `SAC`: the same network with the same initial weights for the same seed,
    the same optimizer, and at each task demonstrations that start as SAC's first episodes do.

    Args:
        env: Environment of the first task to learn. It has `demonstrations(episodes, seed, noise)`
            with "observations" (n, obs_dim) and the "expert_actions" (n, action_dim) there.
        method: See `TaskLearner`.
        episodes: Demonstrations of each task.
        noise: Standard deviation of what is added to the expert's actions while it demonstrates;
            what is learned are the actions without it. So the data holds states beside the
            expert's own path and how to return from them (Laskey et al. 2017, DART).
        seed: Of the network and the demonstrations.
        eyes: What the agent sees with, if the environments show pictures.
        **options: As for `ImitationLearner`.

    Raises:
        UserError: The environment has no demonstrations, or the eyes fit neither it nor the method.
    """

    def __init__(
        self,
        env: Any,
        method: ContinualMethod | None = None,
        *,
        episodes: int = 100,
        noise: float = 0.1,
        seed: int = 0,
        eyes: Eyes | None = None,
        **options: Any,
    ) -> None:
        self.episodes = episodes
        self.noise = noise
        self.seed = seed
        self._eyes = eyes
        self._sight: Sight | None = None
        super().__init__(env, method, seed=seed, **options)

    @classmethod
    def build(
        cls,
        env: Any,
        *,
        num_tasks: int,
        method: ContinualMethod | None,
        seed: int,
        eyes: Eyes | None = None,
        hidden: Sequence[int] = (128, 128),
        layer_norm: bool = True,
        learning_rate: float = 1e-3,
        batch_size: int = 256,
        episodes: int = 100,
        noise: float = 0.1,
        updates_per_step: float = 0.5,
        reset_optimizers: bool = True,
    ) -> BC:
        """Build the agent as benchmark runs use it.

        Args:
            env: Environment of the first task to learn; see the class.
            num_tasks: Number of tasks in the sequence.
            method: The continual method.
            seed: Of the network and the demonstrations.
            eyes: What the agent sees with, if the environments show pictures.
            hidden: Units of each hidden layer.
            layer_norm: LayerNorm and tanh after the first layer.
            learning_rate: Of the optimizer.
            batch_size: Rows in an update.
            episodes: Demonstrations of each task.
            noise: See the class.
            updates_per_step: Updates for each step; see `SupervisedLearner.learn_task`.
            reset_optimizers: See `TaskLearner`.

        Raises:
            ValueError: A number outside its range.
            UserError: The environment has no demonstrations, or the eyes fit neither it nor the
                method.
        """
        check_options(hidden, learning_rate, batch_size, updates_per_step)
        check_demonstration_options(episodes, noise)
        return cls(
            env,
            method,
            num_tasks=num_tasks,
            seed=seed,
            eyes=eyes,
            hidden=hidden,
            layer_norm=layer_norm,
            learning_rate=learning_rate,
            batch_size=batch_size,
            episodes=episodes,
            noise=noise,
            updates_per_step=updates_per_step,
            reset_optimizers=reset_optimizers,
        )

    def act(self, observations: Any) -> np.ndarray:
        """Actions (n, action_dim) for observations as the environments show them."""
        return super().act(observations if self._sight is None else self._sight.rows(observations))

    def _make_policy(self, env: Any) -> Actor:
        refuse_without("demonstrations", env, self, "demonstrations")
        if self._eyes is None:
            return super()._make_policy(env)
        self._sight = sight = open_sight(self._eyes, env.observation_space, self.method)
        space = inputs_space(sight.space, self.num_tasks)
        extractor = sight.make_extractor(space)
        features = space.shape[0] if extractor is None else extractor.features_dim  # type: ignore[index]
        return self._make_actor(features, env.action_space, extractor)

    def _load_data(self, task_id: int, env: Any) -> Batch:
        shown = demonstrate(env, task_id, episodes=self.episodes, seed=self.seed, noise=self.noise)
        scaled = self.bounds.scale(shown["expert_actions"])
        actions = torch.as_tensor(scaled, dtype=torch.float32)
        observations = shown["observations"]
        if self._sight is None:
            rows = torch.as_tensor(observations, dtype=torch.float32)
            return split_batch({"observations": rows, "actions": actions}, self.num_tasks)
        kept, task = self._sight.keep(observations, self.num_tasks)
        batch = {"observations": kept, "actions": actions}
        return batch if task is None else {**batch, "task": task}

    def _take(self, rows: Tensor | slice) -> Batch:
        batch = super()._take(rows)
        if self._sight is not None:
            batch["observations"] = self._sight.restore(batch["observations"])
        return batch

    def _augment(self, batch: Batch) -> Batch:
        if self._sight is None:
            return batch
        return {**batch, "observations": self._sight.augment(batch["observations"])}
