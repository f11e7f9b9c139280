"""Environments of several phases, one after another, as one Stable-Baselines3 ``VecEnv``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.pixels import take
from lifelong_rl.envs.vec_env import StepReturn, VecEnvRows

INCREMENTS = 100
"""Equal steps in which something drifts over a phase."""
Drifting = Callable[[float], Mapping[str, float]]
"""Factors of fields of the physics, once a share in [0, 1] of a phase is done."""


class PhasedVecEnv(VecEnvRows):
    """Environments that change from one phase to the next after so many steps.

    A phase ends with the first step of all environments at which it and those before it have had
    their steps, so that one of fewer steps than there are environments may have no step of its own.
    Where a phase ends, the episodes in it are truncated. While one is learned, fields of its
    physics may drift, in `INCREMENTS` equal steps. ``seed(s)`` followed by ``reset()`` begins the
    first phase again.
    """

    def __init__(
        self, parts: Sequence[Any], steps: Sequence[int], drifts: Sequence[Drifting | None]
    ) -> None:
        """Put phases one after another.

        Args:
            parts: the environments of each phase, equally many with the same spaces; owned from
                here on. Phases of the same tasks may share theirs.
            steps: environment steps of each phase, all environments together.
            drifts: what drifts in each; None for nothing.
        """
        self.parts = tuple(parts)
        self._distinct = tuple({id(part): part for part in parts}.values())
        self._can_be_gone_on_with = False
        self._steps, self._drifts = tuple(steps), tuple(drifts)
        self._current = self._taken = 0
        self._increment = self._diverged_before = 0
        self._base: int | None = None
        first = self.parts[0]
        super().__init__(first.num_envs, first.observation_space, first.action_space)

    @property
    def num_diverged(self) -> int:
        """How many episodes a diverging simulation has ended so far."""
        own = sum(getattr(part, "num_diverged", 0) for part in self._distinct)
        return self._diverged_before + own

    def reset(self) -> Any:
        """Start a new episode in every row and return the observations of all."""
        seed = self._seeds[0]
        if seed is not None:
            self._base = seed
            self._current = self._taken = self._increment = 0
            self._seed_part()
            self._drift(0)
        self._reset_seeds()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return self.parts[self._current].reset()

    def step_async(self, actions: npt.ArrayLike) -> None:
        """Hand the phase's environments their actions.

        Args:
            actions: (n, action_dim), in [-1, 1].
        """
        self.parts[self._current].step_async(actions)

    def step_wait(self) -> StepReturn:
        """Take the step; rows whose episode ended return the next episode's first observation."""
        observations, rewards, dones, infos = self.parts[self._current].step_wait()
        self._taken += self.num_envs
        before, last = self._current, len(self.parts) - 1
        # what a phase takes beyond its steps is of the next one, which may be over by that
        while self._taken >= self._steps[self._current] and self._current < last:
            self._taken -= self._steps[self._current]
            self._current += 1
        increment = min(INCREMENTS * self._taken // self._steps[self._current], INCREMENTS)
        if self._current == before:
            self._drift(increment)
        else:
            observations, dones = self._switch(increment, observations, dones, infos)
        return observations, rewards, dones, infos

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps and episodes depend on.

        Raises:
            UserError: the environments of a phase, which may be a later one, cannot be gone on
                with.
        """
        if not self._can_be_gone_on_with:  # is asked before the first phase begins
            for part in self._distinct:
                part.state_dict()
            self._can_be_gone_on_with = True
        return {
            "current": self._current,
            "taken": self._taken,
            "increment": self._increment,
            "base": self._base,
            "seeds": list(self._seeds),
            "num_diverged": self.num_diverged,
            "part": self.parts[self._current].state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state_dict` of equal environments, to the last bit."""
        self._current, self._taken = state["current"], state["taken"]
        self._base, self._increment = state["base"], -1
        self._drift(state["increment"])
        self.parts[self._current].load_state_dict(state["part"])
        self._seeds = list(state["seeds"])
        # in phases before, whose environments are not gone on with
        self._diverged_before += state["num_diverged"] - self.num_diverged

    def close(self) -> None:
        """Free what the environments hold."""
        for part in self._distinct:
            part.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the environments of the phase, for each index."""
        found: list[Any] = self.parts[self._current].get_attr(attr_name, indices)
        return found

    def _seed_part(self) -> None:
        """Seed the current phase; the first one as it is seeded alone."""
        seed, k = self._base, self._current
        if seed is not None:
            own = seed if k == 0 else int(np.random.SeedSequence([seed, k]).generate_state(1)[0])
            self.parts[k].seed(own % 2**31)

    def _switch(
        self,
        increment: int,
        observations: Any,
        dones: npt.NDArray[np.bool_],
        infos: list[dict[str, Any]],
    ) -> tuple[Any, npt.NDArray[np.bool_]]:
        """Truncate the episodes, and begin those of the phase that is now current."""
        for row in np.flatnonzero(~dones):
            infos[row]["TimeLimit.truncated"] = True
            infos[row]["terminal_observation"] = take(observations, row)
        self._drift(increment, anew=True)
        self._seed_part()
        return self.parts[self._current].reset(), np.ones(self.num_envs, bool)

    def _drift(self, increment: int, *, anew: bool = False) -> None:
        """Change what drifts, if it is time."""
        drift = self._drifts[self._current]
        if drift is None:
            self._increment = increment
        elif anew or increment != self._increment or self._taken == 0:
            self._increment = increment
            self.parts[self._current].change_model(drift(increment / INCREMENTS))
