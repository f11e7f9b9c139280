"""Behaviour cloning: the policy of soft actor-critic, learned from an expert's demonstrations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from lifelong_rl.agents.actor_critic import Actor
from lifelong_rl.agents.from_demonstrations import demonstrate, refuse_without
from lifelong_rl.agents.imitation import ImitationLearner
from lifelong_rl.compatibility import Trait
from lifelong_rl.learning import Batch, split_batch
from lifelong_rl.options import Count, NonNegative
from lifelong_rl.registry import AGENTS


@AGENTS.register("bc")
class BC(ImitationLearner):
    """Behaviour cloning: supervised learning of an expert's actions in a task.

    The supervised twin of `SAC`: the same network with the same initial weights for the same seed,
    the same optimizer, and at each task demonstrations that start as SAC's first episodes do.

    Args:
        env: Environment of the first task to learn. It has `demonstrations(episodes, seed, noise)`
            with "observations" (n, obs_dim) and the "expert_actions" (n, action_dim) there.
        method: See `TaskLearner`.
        **arguments: As for `ImitationLearner`; the seed is also that of the demonstrations.

    Raises:
        UserError: The environment has no demonstrations, or the eyes fit neither it nor the method.

    References:
        Laskey et al. 2017, DART: noise injection for robust imitation learning.
        Haarnoja et al. 2018b, Soft actor-critic algorithms and applications.
        Wolczyk et al. 2021, Continual World: a robotic benchmark for continual reinforcement
        learning.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("continuous actions", "expert")
    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses",)

    @dataclass(frozen=True, kw_only=True)
    class Options(ImitationLearner.Options):
        """Options of BC.

        Attributes:
            episodes: Demonstrations of each task (untuned).
            noise: Standard deviation of what is added to the expert's actions while it
                demonstrates; what is learned are the actions without it (untuned). So the data
                holds states beside the expert's own path and how to return from them (Laskey et al.
                2017, DART).
        """

        episodes: Count = 100
        noise: NonNegative = 0.1

    options: Options

    def _make_policy(self, env: Any) -> Actor:
        refuse_without("demonstrations", env, self, "demonstrations")
        return super()._make_policy(env)

    def _load_data(self, task_id: int, env: Any) -> Batch:
        options = self.options
        shown = demonstrate(
            env, task_id, episodes=options.episodes, seed=self.seed, noise=options.noise
        )
        scaled = self.bounds.scale(shown["expert_actions"])
        actions = torch.as_tensor(scaled, dtype=torch.float32)
        observations = shown["observations"]
        if self._sight is None:
            rows = torch.as_tensor(observations, dtype=torch.float32)
            batch = split_batch({"observations": rows, "actions": actions}, self.num_tasks)
            return self._labelled(batch)
        kept, task = self._sight.keep(observations, self.num_tasks)
        batch = {"observations": kept, "actions": actions}
        return self._labelled(batch if task is None else {**batch, "task": task})
