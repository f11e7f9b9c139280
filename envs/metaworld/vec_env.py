"""Meta-World's environments as a Stable-Baselines3 ``VecEnv`` with experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.datasets import Store, made_with
from lifelong_rl.envs.demonstrations import Episodes
from lifelong_rl.envs.gym_vec_env import GymVecEnv, MakeRow
from lifelong_rl.envs.metaworld.demonstrations import collect


class MetaWorldVecEnv(GymVecEnv):
    """Rows of one task of Meta-World, whose scripted policy can be asked and watched."""

    def __init__(
        self,
        make: MakeRow,
        num_envs: int,
        processes: int,
        owner: str,
        *,
        one_hot: tuple[int, int] | None,
        make_alone: MakeRow,
        horizon: int,
        store: Store,
        described: Mapping[str, Any],
    ) -> None:
        """Make the rows.

        Args:
            make: see `GymVecEnv`.
            num_envs: see `GymVecEnv`.
            processes: see `GymVecEnv`.
            owner: see `GymVecEnv`.
            one_hot: that the rows append to observations.
            make_alone: makes a row without padding and one-hot.
            horizon: control steps of an episode.
            store: has or makes demonstrations.
            described: what tells the task's demonstrations from those of others, as JSON.
        """
        super().__init__(make, num_envs, processes, owner, None)
        self._one_hot, self._make_alone, self._horizon = one_hot, make_alone, horizon
        self._store, self._described = store, dict(described)
        self._factors: dict[str, float] = {}

    def change_model(self, factors: Mapping[str, float]) -> None:
        """Change the MuJoCo model of every row from now on, see `GymVecEnv`."""
        super().change_model(factors)
        self._factors = dict(sorted(factors.items()))

    def demonstrations(self, episodes: int, seed: int, noise: float = 0.0) -> dict[str, Any]:
        """Return what the task's scripted policy does, in an environment of its own.

        Its model is changed as that of these environments is.

        Args:
            episodes: how many whole episodes it acts for, at least 1.
            seed: of their starts and of the noise, at least 0.
            noise: standard deviation of what is added to its actions.

        Returns:
            As `lifelong_rl.envs.vec_env.BatchVecEnv.demonstrations` where the state is shown.

        Raises:
            ValueError: a number is out of its range.
        """
        described = {
            "kind": "demonstrations",
            **self._described,
            "episodes": episodes,
            "seed": seed,
            "noise": noise,
            "factors": self._factors,
            "made_with": made_with(),
        }
        found = Episodes(**self._store(described, lambda: self._collect(episodes, seed, noise)))
        taken = np.arange(self._horizon) < found.lengths[:, None]
        return {
            "observations": self._show(found.observations[:, :-1][taken]),
            "next_observations": self._show(found.observations[:, 1:][taken]),
            "actions": self._pad(found.actions[taken]),
            "expert_actions": self._pad(found.expert_actions[taken]),
            "rewards": found.rewards[taken].astype(np.float32),
            "dones": np.zeros(taken.sum(), np.float32),
        }

    def expert_actions(self) -> npt.NDArray[np.float32]:
        """Return what the scripted policy would do now in every row, (n, action_dim)."""
        return self._pad(np.array(self.env_method("expert_action")))

    def _collect(self, episodes: int, seed: int, noise: float) -> dict[str, Any]:
        env = self._make_alone()
        if self._factors:
            env.change_model(self._factors)
        found = collect(env, self._horizon, episodes=episodes, seed=seed, noise=noise)
        env.close()
        return vars(found)

    def _show(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return observations of the task as the rows show them."""
        shown = _widen(observations, self.observation_space.shape)
        if self._one_hot is not None:
            task_id, num_tasks = self._one_hot
            shown[:, shown.shape[1] - num_tasks + task_id] = 1.0
        return shown

    def _pad(self, actions: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return actions of the task as the rows take them."""
        return _widen(actions, self.action_space.shape)


def _widen(rows: npt.NDArray[np.float32], shape: Any) -> npt.NDArray[np.float32]:
    """Return (n, k) rows followed by zeros, (n, *shape)."""
    out = np.zeros((len(rows), *shape), np.float32)
    out[:, : rows.shape[1]] = rows
    return out
