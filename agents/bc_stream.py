"""Behaviour cloning on the states that the policy itself visits (DAgger, Ross et al. 2011)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from lifelong_rl.agents.actor_critic import Actor
from lifelong_rl.agents.from_demonstrations import refuse_without
from lifelong_rl.agents.imitation import ImitationLearner
from lifelong_rl.compatibility import Trait
from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, StateTree, split_batch
from lifelong_rl.learning.protocols import Pause, Progress, no_pause
from lifelong_rl.options import Whole
from lifelong_rl.registry import AGENTS


class Expert(Protocol):
    """Says what to do."""

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Actions (n, action_dim) for states as environments show them, (n, state_dim)."""
        ...


@AGENTS.register("bc-stream")
class BCStream(ImitationLearner):
    """DAgger: behaviour cloning of an expert in the states that the current policy visits.

    Between `BC` and `SAC`: the targets are fixed, as BC's are, and the data moves with the policy,
    as SAC's does. The policy acts in the environments, the expert says at every step what it would
    have done, and all that was said in the task so far is learned from. The mixture of both that
    drives (Ross et al. 2011, section 3.1) is the expert alone at the beginning of a task, where
    SAC acts at random, and the deterministic policy alone from then on: their βᵢ = I(i = 1).

    The expert is the task's own, which is scripted, or a teacher: another agent that has learned
    the tasks. An agent that sees may so learn from one that acted on the state, as privileged
    teachers do (Chen et al. 2019).

    Args:
        env: Environment of the first task to learn, a Stable-Baselines3 `VecEnv` that has
            `expert_actions()`, (n, action_dim) for its current states; for a teacher where it shows
            pictures, `states()`, (n, state_dim), in place of that.
        method: See `TaskLearner`.
        expert: The teacher, whose `act` gives actions (n, action_dim) for states as environments
            show them; None for the tasks' own experts.
        **arguments: As for `ImitationLearner`.

    Raises:
        UserError: The environment has no expert, or a teacher's folder is given in place of what
            has learned there.

    References:
        Ross et al. 2011, A reduction of imitation learning and structured prediction to no-regret
        online learning.
        Chen et al. 2019, Learning by cheating.
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
            teacher: Folder of a finished run that has learned the same tasks on the state; its
                agent is asked in place of the tasks' experts. Null for these (as in Ross et al.
                2011; teachers as in Chen et al. 2019).
        """

        learning_starts: Whole = 500
        teacher: str | None = None

    taught = True
    options: Options

    def __init__(
        self,
        env: Any,
        method: ContinualMethod | None = None,
        *,
        expert: Expert | None = None,
        **arguments: Any,
    ) -> None:
        self._env, self._expert = env, expert
        self._owed = 0.0
        self._observations: Any = np.empty(0)
        super().__init__(env, method, **arguments)

    def begin_task(self, task_id: int, env: Any) -> None:
        """Switch to a task: new environments, no data, resets, then the method's `begin_task`."""
        self._env = env
        super().begin_task(task_id, env)

    def check_steps(self, steps: int) -> None:
        """Raise UserError if a task of `steps` would have no update."""
        driven = self.options.learning_starts
        if steps <= driven:
            raise UserError(
                f"{steps} steps per task are not more than the {driven} of the expert that a task "
                "begins with (agent option learning_starts): nothing would be learned"
            )

    def learn_task(self, steps: int, progress: Progress, pause: Pause = no_pause) -> None:
        """Learn the current task for `steps` environment steps.

        Raises:
            UserError: There would be no update.
        """
        self.check_steps(steps)
        at_once = self._env.num_envs
        if not self._goes_on:
            self._done, self._owed = 0, 0.0
            self._observations = self._env.reset()
        self._goes_on = False
        total = -(-steps // at_once) * at_once
        held = {
            name: values.new_empty((total, *values.shape[1:]))
            for name, values in self._data.items()
        }
        for name, values in held.items():
            values[: self._done] = self._data[name][: self._done]
        while self._done < total:
            pause()
            driven_by_expert = self._done < self.options.learning_starts
            expert_actions, rows = self._ask(), self._see(self._observations)
            new = self._make_data(rows, expert_actions)
            before, self._done = self._done, self._done + at_once
            for name, values in held.items():
                values[before : self._done] = new[name]
            self._data = {name: values[: self._done] for name, values in held.items()}
            actions = expert_actions if driven_by_expert else self._act_on(rows)
            self._observations = self._env.step(actions)[0]
            if self._done > self.options.learning_starts:
                self._owed += self.options.updates_per_step * at_once
                updates = int(self._owed + 1e-9)  # 10 × 0.1 is a whole update
                self._owed -= updates
                self.rehearse(updates)
            progress(self._done)

    @property
    def experience(self) -> Stream:
        """The rows that have been learned from in the task."""
        return Stream(self)

    def task_state(self) -> StateTree | None:
        """See `SupervisedLearner`."""
        state = super().task_state()
        if state is None:
            return None
        of_task = {**state["task"], "owed": self._owed, "observations": self._observations}
        return {**state, "task": of_task}

    def load_task_state(self, state: StateTree, env: Any) -> None:
        """See `SupervisedLearner`."""
        self._env = env
        super().load_task_state(state, env)
        self._owed = state["task"]["owed"]
        self._observations = state["task"]["observations"]

    def _ask(self) -> np.ndarray:
        """What the expert would do now, (n, action_dim)."""
        if self._expert is None:
            said: np.ndarray = self._env.expert_actions()
            return said
        return self._expert.act(self._observations if self._sight is None else self._env.states())

    def _make_policy(self, env: Any) -> Actor:
        if self._expert is None:
            refuse_without("expert_actions", env, self, "experts that it asks")
            if self.options.teacher is not None:
                raise UserError(
                    "a teacher's folder is opened by `lifelong-rl run`; in Python give the agent "
                    "that has learned, as expert=..."
                )
        elif self._eyes is not None and not hasattr(env, "states"):
            raise UserError(
                f"the teacher of {type(self).__name__} acts on the state, which these environments "
                "do not tell beside the pictures that they show"
            )
        return super()._make_policy(env)

    def _load_data(self, task_id: int, env: Any) -> Batch:
        shown = env.observation_space if self._sight is None else self._sight.space
        return self._make_data(np.empty((0, *shown.shape)), np.empty((0, *env.action_space.shape)))

    def _make_data(self, rows: np.ndarray, expert_actions: np.ndarray) -> Batch:
        """What is kept of rows as `_see` makes them, and of what the expert says there."""
        batch = {
            "observations": torch.as_tensor(rows, dtype=torch.float32),
            "actions": torch.as_tensor(self.bounds.scale(expert_actions), dtype=torch.float32),
        }
        batch = split_batch(batch, self.num_tasks)
        if self._sight is not None:
            kept = self._sight.keep_rows(batch["observations"].numpy())
            batch["observations"] = torch.from_numpy(kept)
        return self._labelled(batch)


class Stream:
    """The data of a `BCStream` as experience: a step is a row.

    Args:
        learner: Whose.
    """

    def __init__(self, learner: BCStream) -> None:
        self._learner = learner

    def span(self) -> tuple[int, int]:
        """See `lifelong_rl.learning.protocols.Experience`."""
        return 0, len(self._learner._data["observations"])

    def read(self, first: int, end: int) -> dict[str, np.ndarray]:
        """See `lifelong_rl.learning.protocols.Experience`."""
        data = self._learner._data
        return {name: values[first:end].cpu().numpy() for name, values in data.items()}

    def write(self, first: int, steps: Mapping[str, np.ndarray]) -> None:
        """See `lifelong_rl.learning.protocols.Experience`."""
        data = self._learner._data
        for name, values in data.items():
            new = torch.from_numpy(steps[name]).to(values)
            data[name] = torch.cat([values[:first], new])
