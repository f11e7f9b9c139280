"""The one stepping path: a task run as a batch of simulations.

`BatchEnv` holds all the logic of the decision process; the single
`lifelong_rl.envs.gym_env.TaskEnv`, Gymnasium's vectorised
`lifelong_rl.envs.gym_vector_env.TaskVectorEnv` and Stable-Baselines3's
`lifelong_rl.envs.vec_env.BatchVecEnv` are thin adapters around it.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
from mujoco.batch import Batch

from lifelong_rl.envs.model_changes import change_model
from lifelong_rl.envs.robot import Array, clip
from lifelong_rl.envs.task import Task
from lifelong_rl.errors import ContractError

_LOGGER = logging.getLogger(__name__)
DIVERGENCE = slice(
    mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjWARN_BADQACC.value + 1
)
"""Counters of bad positions, velocities and accelerations, which lie side by side."""
_VELOCITY_STAGE = mujoco.mjtStage.mjSTAGE_VEL.value


@dataclass(frozen=True)
class Step:
    """What one control step gave, one row per simulation; all arrays are fresh.

    Attributes:
        observation: (n, observation_dim) float32, of the state the step ended in; where the
            simulation diverged, of the last state before that.
        reward: (n,), the sum of `terms`.
        terms: the weighted reward terms in the order of the task's weights, (n, k).
        success: whether the state solves the task, (n,) bool.
        truncated: whether the episode is over, (n,) bool.
        diverged: whether the episode is over because its simulation diverged, (n,) bool.
    """

    observation: npt.NDArray[np.float32]
    reward: Array
    terms: Array
    success: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    diverged: npt.NDArray[np.bool_]


class BatchEnv:
    """A task in ``num_envs`` simulations of one model.

    Row i draws its episodes from its own generator, seeded by ``SeedSequence(seed,
    spawn_key=(i,))``; they do not depend, to the last bit, on the number of rows or threads.

    ``copy.deepcopy`` and ``pickle`` make a batch that goes on as this one would, to the last bit.

    Attributes:
        task: the task.
        num_envs: number of simulations.
        batch: the simulations.
        num_diverged: how many episodes a diverging simulation has ended so far.
        robot: the robot in them.
        elapsed: control steps since each row's last reset, (n,).
        factors: how the model is changed, see `change_model`.
    """

    def __init__(self, task: Task[Any, Any], num_envs: int, num_threads: int = 1) -> None:
        """Compile the scene and allocate the simulations; call `reset` before `step`.

        Args:
            task: what to run.
            num_envs: number of simulations, at least 1.
            num_threads: threads that step them; 0 takes every CPU.

        Raises:
            ValueError: if a number is out of its range.
        """
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; it must be at least 1")
        if num_threads < 0:
            raise ValueError(f"num_threads is {num_threads}; it must be 0 (every CPU) or more")
        self.task = task
        self.num_envs, self._num_threads = num_envs, num_threads
        log_to_no_file()
        # persistent: the next step continues from the stages computed for the observation
        self.batch = Batch(task.model(), num_envs, num_threads, persistent=True)
        self._process = os.getpid()
        self.factors: dict[str, float] = {}
        self.num_diverged = 0
        self.robot = task.robot(self.batch)
        self.elapsed = np.zeros(num_envs, np.int64)
        self._weights = np.array(list(task.weights.values()))
        self._term_names = list(task.weights)
        self._is_checked = False
        self._warnings = self._warning_counts()
        self._observation = np.zeros((num_envs, task.observation_dim), np.float32)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self.seed(None)

    def seed(
        self, seed: int | Sequence[int | None] | None, rows: npt.ArrayLike | None = None
    ) -> None:
        """Seed rows' generators; the next reset starts the first episodes of that seed.

        Args:
            seed: a non-negative integer, or None for one from the operating system; or one for
                each row, whose episodes are then those of row 0 with this seed. None among them
                leaves that row's generator as it is.
            rows: which rows to seed, as sorted ids or a mask (n,); None for all.

        Raises:
            ValueError: if there are more or fewer seeds than rows in the batch.
        """
        ids = self._ids(rows)
        if seed is None or isinstance(seed, int | np.integer):
            entropy = np.random.SeedSequence(seed).entropy
            for row in ids:
                self._rngs[row] = _generator(entropy, int(row))
            return
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds are given for {self.num_envs} environments")
        for row in ids:
            if seed[row] is not None:
                self._rngs[row] = _generator(seed[row], 0)

    def reset(self, rows: npt.ArrayLike | None = None) -> npt.NDArray[np.float32]:
        """Start new episodes.

        Args:
            rows: which rows, as sorted ids or a mask (n,); None for all.

        Returns:
            The observations of those rows, (k, observation_dim), a fresh array.
        """
        ids = self._ids(rows)
        starts = [self.task.sample(self._rngs[row]) for row in ids]
        self._check_process()
        self.batch.reset(ids, stage=mujoco.mjtStage.mjSTAGE_NONE.value)
        self.robot.place(ids, starts)
        self.batch.forward(ids, stage=_VELOCITY_STAGE)
        self.elapsed[ids] = 0
        self._warnings = self._warning_counts()
        self._observation[ids] = self.robot.encode(self.state(ids))
        return self._observation[ids]

    def step(self, actions: npt.ArrayLike) -> Step:
        """Advance every simulation by one control step.

        Args:
            actions: (n, action_dim); values beyond [-1, 1] are clipped.

        Raises:
            ValueError: if the shape is another or a value is not a number.
            ContractError: if the task tells rewards or success otherwise than it has to.
        """
        self._check_process()
        self.robot.command(self._checked(actions))
        self.batch.step(nstep=self.task.substeps, stage=_VELOCITY_STAGE)
        self.elapsed += 1
        diverged = self._find_diverged()

        state = self.state()
        values, success = self.task.reward_terms(state), self.task.success(state)
        if not self._is_checked:
            self._check_task(values, success)
        terms = self._weigh(values)
        observation = self.robot.encode(state)
        if diverged.any():  # MuJoCo has reset these rows: what they show was not achieved
            terms[diverged] = 0.0
            success &= ~diverged
            observation[diverged] = self._observation[diverged]
        self._observation[:] = observation
        reward = terms[:, 0].copy()
        for column in range(1, terms.shape[1]):
            reward += terms[:, column]
        return Step(
            observation=observation,
            reward=reward,
            terms=terms,
            success=success,
            truncated=(self.elapsed >= self.task.horizon) | diverged,
            diverged=diverged,
        )

    def change_model(self, factors: Mapping[str, float]) -> None:
        """Change the model of every simulation from now on; see `lifelong_rl.envs.model_changes`.

        Args:
            factors: by quantity, of the task's own value; an empty mapping changes it back.

        Raises:
            UserError: if a factor is wrong, or the task has no such element.
        """
        changed = copy.copy(self.batch.model)
        change_model(changed, self.batch.model, factors)
        # the next step computes anew what the last one had computed for it with the former model
        self.batch.set_models(changed if factors else None)
        self.factors = dict(factors)

    def observe(self) -> npt.NDArray[np.float32]:
        """Return the observations that reset and step gave last, (n, observation_dim), a copy."""
        return self._observation.copy()

    def state(self, rows: npt.ArrayLike | None = None) -> Any:
        """Return the current state of some rows, in SI units, as fresh arrays.

        Args:
            rows: which rows, as ids or a mask; None for all.
        """
        return self.robot.state(slice(None) if rows is None else np.asarray(rows))

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        """Return what the next step depends on beside its actions, as fresh arrays.

        Returns:
            One row per simulation, by name: MuJoCo's integration state as ``physics``, the control
            steps since the reset as ``elapsed``, and what the robot keeps. The generators are not
            part of it: they decide how episodes start, not how they go on.
        """
        return {name: array.copy() for name, array in self._kept().items()}

    def restore(self, snapshot: Mapping[str, npt.ArrayLike]) -> npt.NDArray[np.float32]:
        """Go on from a `snapshot` of this task: the next step gives the same bits.

        Args:
            snapshot: as many rows as there are simulations.

        Returns:
            The observations, (n, observation_dim), a fresh array.

        Raises:
            ValueError: if an array is missing, unknown or of another shape.
        """
        kept = self._kept()
        shapes = {name: np.shape(array) for name, array in snapshot.items()}
        expected = {name: array.shape for name, array in kept.items()}
        if shapes != expected:
            raise ValueError(
                f"the snapshot holds arrays of the shapes {shapes}; {self.num_envs} environments "
                f"of task {self.task.name} take {expected}"
            )
        self._check_process()
        for name, array in kept.items():
            array[:] = snapshot[name]
        self.batch.forward(stage=_VELOCITY_STAGE)
        self._warnings = self._warning_counts()
        self._observation[:] = self.robot.encode(self.state())
        return self._observation.copy()

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps and episodes depend on: a snapshot and the generators.

        With them goes how the model is changed.
        """
        return {
            "factors": dict(self.factors),
            "snapshot": self.snapshot(),
            "generators": [rng.bit_generator.state for rng in self._rngs],
            "num_diverged": self.num_diverged,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state_dict` of as many simulations of this task, to the last bit."""
        if state.get("factors", {}) != self.factors:  # earlier versions changed no model
            self.change_model(state.get("factors", {}))
        self.restore(state["snapshot"])
        for rng, of_row in zip(self._rngs, state["generators"], strict=True):
            rng.bit_generator.state = of_row
        self.num_diverged = state["num_diverged"]

    def __getstate__(self) -> dict[str, Any]:
        """Return what makes the batch, and all that its next steps and episodes depend on."""
        return {
            "task": self.task,
            "num_envs": self.num_envs,
            "num_threads": self._num_threads,
            "factors": self.factors,
            "snapshot": self.snapshot(),
            "num_diverged": self.num_diverged,
            "rngs": self._rngs,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Compile the scene anew and go on from the state of another batch."""
        BatchEnv.__init__(self, state["task"], state["num_envs"], state["num_threads"])
        if state["factors"]:
            self.change_model(state["factors"])
        self.restore(state["snapshot"])
        self.num_diverged, self._rngs = state["num_diverged"], state["rngs"]

    def _ids(self, rows: npt.ArrayLike | None) -> npt.NDArray[np.int64]:
        """Return the ids of rows that are given as ids or a mask; of all for None."""
        ids = np.arange(self.num_envs) if rows is None else np.asarray(rows)
        return np.flatnonzero(ids) if ids.dtype == bool else ids

    def _check_process(self) -> None:
        """Raise a RuntimeError in a fork, which has none of the threads that are waited for."""
        if self._num_threads != 1 and os.getpid() != self._process:
            raise RuntimeError(
                "cannot step environments in a fork of the process that made them: their threads "
                "are not in it; make them there, or start the process by multiprocessing's 'spawn'"
            )

    def _kept(self) -> dict[str, npt.NDArray[Any]]:
        """Return the live arrays of a `snapshot` by name."""
        return {"physics": self.batch.state, "elapsed": self.elapsed, **self.robot.memory()}

    def _check_task(self, values: Any, success: Any) -> None:
        """Check, once, what a task of anyone's returns; a scalar would count for every row."""
        owner, n = f"the task '{self.task.name}'", self.num_envs
        names = sorted(values) if isinstance(values, Mapping) else None
        if names != sorted(self._term_names):
            raise ContractError(
                owner, f"reward_terms() tells {names}, and its weights are for {self._term_names}"
            )
        for name, value in values.items():
            if not isinstance(value, np.ndarray) or value.shape != (n,):
                raise ContractError(
                    owner, f"the reward term '{name}' is of shape {np.shape(value)}, not ({n},)"
                )
        if not isinstance(success, np.ndarray) or success.shape != (n,) or success.dtype != bool:
            raise ContractError(
                owner, f"success() is of shape {np.shape(success)}, not ({n},) of bool"
            )
        self._is_checked = True

    def _weigh(self, values: Mapping[str, Array]) -> Array:
        """Return the weighted reward terms, (n, k)."""
        terms = np.empty((self.num_envs, len(self._weights)))
        for column, (name, weight) in enumerate(self.task.weights.items()):
            np.multiply(values[name], weight, out=terms[:, column])
        return terms

    def _checked(self, actions: npt.ArrayLike) -> Array:
        """Return the actions as floats within [-1, 1], or say what is wrong with them."""
        checked = np.asarray(actions, np.float64)
        action_dim = self.task.action_dim
        if checked.shape != (self.num_envs, action_dim):
            raise ValueError(
                f"the actions have shape {checked.shape}; "
                f"{self.num_envs} environments take ({self.num_envs}, {action_dim})"
            )
        if np.isnan(checked).any():
            row = int(np.flatnonzero(np.isnan(checked).any(axis=1))[0])
            raise ValueError(
                f"the action of environment {row} is {checked[row]}; it must hold {action_dim} "
                "numbers in [-1, 1]"
            )
        return clip(checked, -1.0, 1.0)

    def _find_diverged(self) -> npt.NDArray[np.bool_]:
        """Return the rows whose simulation diverged in the last step, (n,), and count them."""
        counts = self._warning_counts()
        diverged: npt.NDArray[np.bool_] = counts != self._warnings
        self._warnings = counts
        if diverged.any():
            if self.num_diverged == 0:
                _LOGGER.warning(
                    "task %s: the simulation of environment %d diverged; its episode was ended "
                    "(further ones are only counted, in num_diverged)",
                    self.task.name,
                    int(np.flatnonzero(diverged)[0]),
                )
            self.num_diverged += int(diverged.sum())
        return diverged

    def _warning_counts(self) -> npt.NDArray[np.int32]:
        """Return how often MuJoCo has found each row's state bad, (n,)."""
        positions, velocities, accelerations = self.batch.warning[:, DIVERGENCE, 1].T
        counts: npt.NDArray[np.int32] = positions + velocities + accelerations
        return counts


def _generator(entropy: Any, row: int) -> np.random.Generator:
    """Return the generator that draws the episodes of a row."""
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(row,)))


def log_to_no_file() -> None:
    """Keep MuJoCo from writing MUJOCO_LOG.TXT into the working directory, whoever's that is."""
    config = mujoco.MjLogConfig.get()
    config.logto_file = False
    config.set()
