"""Behaviour cloning on the states that the policy itself visits (DAgger, Ross et al. 2011)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from lifelong_rl.agents.actor_critic import Actor
from lifelong_rl.agents.from_demonstrations import refuse_without
from lifelong_rl.agents.imitation import ImitationLearner
from lifelong_rl.compatibility import Trait
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, split_batch
from lifelong_rl.learning.protocols import Progress
from lifelong_rl.options import Whole
from lifelong_rl.registry import AGENTS


@AGENTS.register("bc-stream")
class BCStream(ImitationLearner):
    """DAgger: behaviour cloning of an expert in the states that the current policy visits.

    Between `BC` and `SAC`: the targets are fixed, as BC's are, and the data moves with the policy,
    as SAC's does. The policy acts in the environments, the expert says at every step what it would
    have done, and all that was said in the task so far is learned from. The mixture of both that
    drives (Ross et al. 2011, section 3.1) is the expert alone at the beginning of a task, where
    SAC acts at random, and the deterministic policy alone from then on: their βᵢ = I(i = 1).

    Args:
        env: Environment of the first task to learn, a Stable-Baselines3 `VecEnv` that has
            `expert_actions()`, (n, action_dim) for its current states.
        method: See `TaskLearner`.
        **arguments: As for `SupervisedLearner`.

    Raises:
        UserError: The environment has no expert.

    References:
        Haarnoja et al. 2018b, Soft actor-critic algorithms and applications.
        Wolczyk et al. 2021, Continual World: a robotic benchmark for continual reinforcement
        learning.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("continuous actions", "expert")
    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses",)

    @dataclass(frozen=True, kw_only=True)
    class Options(ImitationLearner.Options):
        """Options of BCStream.

        Attributes:
            learning_starts: Environment steps at the beginning of each task that the expert drives;
                there are no updates until they are over (untuned: as SAC's).
            updates_per_step: Updates for each environment step; they are done after a step of all
                environments together, and fractions of an update are owed to later steps (untuned:
                as many as SAC's policy makes).
        """

        learning_starts: Whole = 500

    options: Options

    def __init__(self, env: Any, method: ContinualMethod | None = None, **arguments: Any) -> None:
        self._env = env
        super().__init__(env, method, **arguments)

    def begin_task(self, task_id: int, env: Any) -> None:
        """Switch to a task: new environments, no data, resets, then the method's `begin_task`."""
        self._env = env
        super().begin_task(task_id, env)

    def learn_task(self, steps: int, progress: Progress) -> None:
        """Learn the current task for `steps` environment steps.

        Raises:
            UserError: There would be no update.
        """
        driven = self.options.learning_starts
        if steps <= driven:
            raise UserError(
                f"{steps} steps per task are not more than the {driven} of the expert that a task "
                "begins with (agent option learning_starts): nothing would be learned"
            )
        at_once = self._env.num_envs
        rounds = -(-steps // at_once)
        held = {
            name: values.new_empty((rounds * at_once, *values.shape[1:]))
            for name, values in self._data.items()
        }
        owed = 0.0
        observations = self._env.reset()
        for done in range(at_once, rounds * at_once + 1, at_once):
            expert_actions = self._env.expert_actions()
            new = self._rows(observations, expert_actions)
            for name, values in held.items():
                values[done - at_once : done] = new[name]
            self._data = {name: values[:done] for name, values in held.items()}
            driven_by_expert = done - at_once < self.options.learning_starts
            actions = expert_actions if driven_by_expert else self.act(observations)
            observations = self._env.step(actions)[0]
            if done > self.options.learning_starts:
                owed += self.options.updates_per_step * at_once
                updates = int(owed + 1e-9)  # 10 × 0.1 is a whole update
                owed -= updates
                self.rehearse(updates)
            progress(done)

    def _make_policy(self, env: Any) -> Actor:
        refuse_without("expert_actions", env, self, "experts that it asks")
        return super()._make_policy(env)

    def _load_data(self, task_id: int, env: Any) -> Batch:
        (obs_dim,), (action_dim,) = env.observation_space.shape, env.action_space.shape
        return self._rows(np.empty((0, obs_dim)), np.empty((0, action_dim)))

    def _rows(self, observations: np.ndarray, expert_actions: np.ndarray) -> Batch:
        shown = {
            "observations": torch.as_tensor(observations, dtype=torch.float32),
            "actions": torch.as_tensor(self.bounds.scale(expert_actions), dtype=torch.float32),
        }
        return split_batch(shown, self.num_tasks)
