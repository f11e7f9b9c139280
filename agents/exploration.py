"""What acts in the first steps of a task: random actions, or an old head (Wolczyk et al. 2022)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from lifelong_rl.agents.learner import ContinualLearner
from lifelong_rl.errors import UserError
from lifelong_rl.learning import StateTree

Explore = Literal["random", "best-old-head"]


class ExploringLearner(ContinualLearner, OffPolicyAlgorithm):
    """An off-policy algorithm of Stable-Baselines3 that may begin a task with its old heads.

    Args:
        policy: As for Stable-Baselines3.
        env: As for Stable-Baselines3.
        explore: What acts in the first steps of a task, see `OffPolicyLearner.Options`.
        explore_steps: How many these are; None for `learning_starts`.
        **arguments: As for `ContinualLearner` and Stable-Baselines3's algorithm.

    Raises:
        UserError: Old heads are to act where there are none, or for no step.
    """

    def __init__(
        self,
        policy: Any,
        env: Any,
        *arguments: Any,
        explore: Explore = "random",
        explore_steps: int | None = None,
        **more: Any,
    ) -> None:
        self.explore = explore
        self.explore_steps = explore_steps
        self._learned_heads: set[int] = set()
        self._old_heads: OldHeads | None = None  # while they act
        super().__init__(policy, env, *arguments, **more)
        if explore == "random":
            return
        if self.num_tasks == 1:
            raise UserError(
                f"explore={explore} acts with the heads of earlier tasks, and there is one head "
                "only: one task, or tasks that are not told apart; leave out explore"
            )
        if not (self.learning_starts if explore_steps is None else explore_steps):
            raise UserError(
                f"explore={explore} has no step to act in: explore_steps, by default "
                "learning_starts, is 0"
            )

    def begin_task(self, task_id: int, env: VecEnv) -> None:
        """Switch to a task, in which no head has acted yet."""
        self._old_heads = None
        super().begin_task(task_id, env)

    def end_task(self) -> None:
        """Close the current task; its heads are old ones from now on."""
        super().end_task()
        # of all tasks that there were rows of; other buffers do not know
        self._learned_heads |= getattr(self.replay_buffer, "tasks", set()) or {self.task_id}

    def state_dict(self) -> StateTree:
        """See `TaskLearner`; and which heads have learned a task, if these are to act."""
        state = super().state_dict()
        if self.explore == "random":
            return state
        return {**state, "learned_heads": sorted(self._learned_heads)}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict` of an agent built with the same arguments."""
        super().load_state_dict(state)
        if self.explore != "random":
            self._learned_heads = set(state["learned_heads"])

    def task_state(self) -> StateTree | None:
        """See `ContinualLearner`; and what the old heads have returned in the task."""
        state = super().task_state()
        if state is None or self.explore == "random":
            return state
        held = None if self._old_heads is None else self._old_heads.state_dict()
        return {**state, "task": {**state["task"], "old_heads": held}}

    def load_task_state(self, state: StateTree, env: Any) -> None:
        """See `ContinualLearner`."""
        super().load_task_state(state, env)
        held = state["task"].get("old_heads")
        self._old_heads = None
        if held is not None:
            self._old_heads = self._make_old_heads()
            self._old_heads.load_state_dict(held)

    def _make_old_heads(self) -> OldHeads:
        return OldHeads(sorted(self._learned_heads), self.num_tasks, self.n_envs)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Explore with old heads, or as Stable-Baselines3 does."""
        steps = learning_starts if self.explore_steps is None else self.explore_steps
        if self.num_timesteps >= steps:
            self._old_heads = None
        elif self.explore == "best-old-head" and self._learned_heads:
            if self._old_heads is None:
                self._old_heads = self._make_old_heads()
            shown: Any = self._last_obs
            self._last_obs = self._old_heads.show(shown)
            try:
                return super()._sample_action(0, action_noise, n_envs)
            finally:
                self._last_obs = shown
        return super()._sample_action(steps, action_noise, n_envs)

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: Any,
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        if self._old_heads is not None:
            self._old_heads.note(reward, dones)


class OldHeads:
    """Chooses which head acts in each environment, an episode at a time.

    Each head acts for an episode, one after another, and from then on the one with the largest mean
    return of its episodes ("best-return" of Wolczyk et al. 2022). With several
    environments they are tried in parallel, and those that are left over when all are being tried
    try heads again until a first episode has ended. Environments of different tasks have nothing to
    do with each other.

    Args:
        heads: Those that have learned a task, in the order in which they are tried.
        num_tasks: Length of the one-hot at the end of observations.
        num_envs: Number of environments.
    """

    def __init__(self, heads: list[int], num_tasks: int, num_envs: int) -> None:
        self.heads = np.array(heads)
        self.num_tasks = num_tasks
        self._begun, self._ended, self._returns = np.zeros((3, num_tasks, num_tasks))  # task, head
        self._task, self._acting = np.zeros(num_envs, int), np.full(num_envs, -1)  # -1: none yet
        self._so_far = np.zeros(num_envs)

    def show(self, observations: np.ndarray) -> np.ndarray:
        """Observations (n, obs_dim) as if they were of the tasks whose heads are to act."""
        tasks = observations[:, -self.num_tasks :].argmax(axis=1)
        for row in np.flatnonzero(self._acting < 0):
            head = self._choose(tasks[row])
            self._task[row], self._acting[row] = tasks[row], head
            self._begun[tasks[row], head] += 1
        shown = observations.copy()
        shown[:, -self.num_tasks :] = np.eye(self.num_tasks)[self._acting]
        return shown

    def note(self, rewards: np.ndarray, dones: np.ndarray) -> None:
        """Take note of a step: rewards (n,), and whether episodes have ended, (n,)."""
        self._so_far += rewards
        for row in np.flatnonzero(dones):
            pair = self._task[row], self._acting[row]
            self._ended[pair] += 1
            self._returns[pair] += self._so_far[row]
            self._acting[row], self._so_far[row] = -1, 0.0

    def _choose(self, task: int) -> int:
        begun, ended = self._begun[task, self.heads], self._ended[task, self.heads]
        if begun.all() and ended.any():
            means = self._returns[task, self.heads] / np.maximum(ended, 1)
            return int(self.heads[np.where(ended > 0, means, -np.inf).argmax()])
        return int(self.heads[begun.argmin()])

    def state_dict(self) -> StateTree:
        """What was tried, and what is being tried."""
        return {
            "begun": self._begun,
            "ended": self._ended,
            "returns": self._returns,
            "task": self._task,
            "acting": self._acting,
            "so_far": self._so_far,
        }

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._begun, self._ended, self._returns, self._task, self._acting, self._so_far = (
            np.array(state[name])
            for name in ("begun", "ended", "returns", "task", "acting", "so_far")
        )
