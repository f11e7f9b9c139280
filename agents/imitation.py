"""Imitation of an expert with the policy of soft actor-critic: what its learners share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from lifelong_rl.agents.action_bounds import ActionBounds
from lifelong_rl.agents.action_mask import (
    action_dims_of,
    make_mask,
    mask_actions,
    mean_squared_error,
)
from lifelong_rl.agents.actor_critic import Actor
from lifelong_rl.agents.components import AgentComponent, gaussian
from lifelong_rl.agents.inputs import inputs_space
from lifelong_rl.agents.network_builder import NetworkBuilder
from lifelong_rl.agents.sight import PictureExtractor, Sight, open_sight
from lifelong_rl.agents.supervised import SupervisedLearner
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.learning import Batch, Component, split_task
from lifelong_rl.learning.devices import move_tree
from lifelong_rl.networks import NetworkSpec
from lifelong_rl.networks.activations import ACTIVATIONS
from lifelong_rl.options import Positive
from lifelong_rl.vision.eyes import Eyes


class ImitationLearner(SupervisedLearner):
    """Supervised learning of an expert's actions by the actor of `SAC`.

    The network has the same initial weights as SAC's for the same seed, and the optimizer is the
    same.

    Args:
        env: Environment of the first task to learn.
        method: See `TaskLearner`.
        eyes: What the agent sees with, if the environments show pictures.
        **arguments: As for `SupervisedLearner`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SupervisedLearner.Options):
        """Options of every imitation learner.

        Attributes:
            updates_per_step: Updates for each of the steps that a task is learned for (untuned: as
                many as SAC's policy makes).
        """

        updates_per_step: Positive = 0.25

    sees = True
    policy: Actor

    def __init__(
        self,
        env: Any,
        method: ContinualMethod | None = None,
        *,
        eyes: Eyes | None = None,
        **arguments: Any,
    ) -> None:
        self._eyes = eyes
        self._sight: Sight | None = None
        super().__init__(env, method, **arguments)

    def act(self, observations: Any) -> np.ndarray:
        """Actions (n, action_dim) for observations as the environments show them."""
        return self._act_on(self._see(observations))

    def _see(self, observations: Any) -> np.ndarray:
        """Rows (n, dim) of what environments show; the task one-hot stays at their end."""
        rows: np.ndarray = observations if self._sight is None else self._sight.rows(observations)
        return rows

    def _act_on(self, rows: np.ndarray) -> np.ndarray:
        """Actions (n, action_dim) for rows (n, dim) as `_see` makes them."""
        self.policy.eval()
        with torch.no_grad():
            shown = torch.as_tensor(rows, dtype=torch.float32, device=self.device)
            inputs, task = split_task(shown, self.num_tasks)
            scaled = self.policy(inputs, deterministic=True, task=task).cpu().numpy()
        return self.bounds.unscale(scaled)

    def _make_components(self, make_optimizer: Any) -> dict[str, Component]:
        optimizer = make_optimizer(self.policy.parameters())
        return {"policy": ImitationPolicy(self.policy, optimizer, num_tasks=self.num_tasks)}

    def _make_policy(self, env: Any) -> Actor:
        shown = env.observation_space
        if self._eyes is None:
            return self._make_actor(env, inputs_space(shown, self.num_tasks).shape[0])  # type: ignore[index]
        self._sight = sight = open_sight(self._eyes, shown, self.method, self.device)
        space = inputs_space(sight.space, self.num_tasks)
        extractor = sight.make_extractor(space)
        features = space.shape[0] if extractor is None else extractor.features_dim  # type: ignore[index]
        return self._make_actor(env, features, extractor)

    def _make_actor(
        self, env: Any, features: int, extractor: PictureExtractor | None = None
    ) -> Actor:
        """Build the actor for rows of this number of features."""
        actions = env.action_space
        self.bounds = ActionBounds(actions.low, actions.high)
        spec = NetworkSpec(
            input_dim=features,
            hidden=self.options.hidden,
            outputs=actions.shape * 2,
            num_tasks=self.num_tasks,
            activation=ACTIVATIONS[self.options.activation],
            layer_norm=self.options.layer_norm,
        )
        mask = make_mask(action_dims_of(env, self.num_tasks), spec.outputs[0])
        return Actor(NetworkBuilder(self.method)("policy", spec), extractor, mask=mask)

    def _labelled(self, batch: Batch) -> Batch:
        """Rows on the agent's device, whose actions are 0 in the entries that do not count."""
        return mask_actions(move_tree(batch, self.device), self.policy.mask)

    def _take(self, rows: Tensor | slice) -> Batch:
        batch = super()._take(rows)
        if self._sight is not None:
            batch["observations"] = self._sight.restore(batch["observations"])
        return batch

    def _augment(self, batch: Batch) -> Batch:
        if self._sight is None:
            return batch
        return {**batch, "observations": self._sight.augment(batch["observations"])}


class ImitationPolicy(AgentComponent):
    """The policy as a component.

    Batch: "observations" (n, obs_dim) and the expert's "actions" (n, action_dim) in [-1, 1].

    The loss is the squared error of the deterministic action and not the likelihood of the
    expert's action under the squashed Gaussian. Experts saturate: at an action of ±1 the
    likelihood is that of an infinite number before the tanh, and how large the number is made
    decides the fit. Experts are deterministic too, so that the best standard deviation is zero and
    the likelihood has no bound. The squared error is bounded and is what `act` is judged by. The
    network's log standard deviations, there to be equal to SAC's, are then not learned; a
    prediction therefore has a standard deviation of 1, as TD3's has, so that methods see what is
    learned and nothing else.
    """

    name = "policy"
    module: Actor

    def loss(self, batch: Batch) -> Tensor:
        """Mean over rows and the entries that count of (tanh μ(s) − a)²."""
        task, mask = batch.get("task"), self.module.mask
        actions = torch.tanh(self.module.mean(batch["observations"], task))
        return mean_squared_error(actions, batch["actions"], task, mask)

    def predict(self, batch: Batch) -> Distribution:
        """Normal(action before the squashing tanh, 1)."""
        return gaussian(self.module.mean(batch["observations"], batch.get("task")))
