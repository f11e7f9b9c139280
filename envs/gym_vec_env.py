"""Environments of Gymnasium as a Stable-Baselines3 ``VecEnv``, in this process or in several.

`stable_baselines3.common.vec_env.SubprocVecEnv` would start a process for each environment, of
which an evaluation has a hundred; its processes end with Ctrl-C, before a run could save where it
stands; and what is wrong in one of them is not told. So each process here steps a share of the
environments, by Stable-Baselines3's ``DummyVecEnv``.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices

from lifelong_rl.envs.gym_row import GymRow
from lifelong_rl.errors import UserError

StepReturn = tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]
MakeRow = Callable[[], GymRow]


class GymVecEnv(VecEnv):
    """Rows of `lifelong_rl.envs.gym_row.GymRow`, stepped together.

    ``seed(s)`` followed by ``reset()`` starts the same episodes every time, those of row i as
    ``reset(seed=s + i)`` of the environment does, however many rows and processes there are; a
    plain ``reset()``, and the end of an episode, go on with the environment's generator.
    ``TimeLimit.truncated`` is true exactly where an episode was truncated and not terminated.
    """

    def __init__(
        self, make: MakeRow, num_envs: int, processes: int, owner: str, obstacle: str | None
    ) -> None:
        """Make the rows.

        Args:
            make: Makes one; with several processes it can be pickled.
            num_envs: How many, at least 1.
            processes: That step them, at most one for each; with 1 they are stepped in this one.
            owner: What to call them in errors.
            obstacle: Why their episodes cannot be gone on with elsewhere, None if they can.
        """
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; it must be at least 1")
        self._owner, self._obstacle = owner, obstacle
        shares = np.array_split(np.arange(num_envs), min(processes, num_envs))
        kind = _Here if len(shares) == 1 else _Elsewhere
        self._groups: list[_Here | _Elsewhere] = [kind(make, len(share)) for share in shares]
        self._places = [
            (group, row)
            for group, share in zip(self._groups, shares, strict=True)
            for row in range(len(share))
        ]
        self._splits = [int(share[0]) for share in shares[1:]]
        self.num_diverged = 0
        self._groups[0].send("spaces")
        super().__init__(num_envs, *self._groups[0].receive())

    def reset(self) -> npt.NDArray[np.float32]:
        """Start a new episode in every row and return the observations of all."""
        seeds = np.split(np.array(self._seeds, object), self._splits)
        for group, own in zip(self._groups, seeds, strict=True):
            group.send("begin", own.tolist())
        self._reset_seeds()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return np.concatenate(self._receive())

    def step_async(self, actions: npt.ArrayLike) -> None:
        """Hand the rows their actions.

        Args:
            actions: (n, action_dim), in [-1, 1].

        Raises:
            ValueError: The shape is another, or a value is not a number.
        """
        taken = np.asarray(actions)
        expected = (self.num_envs, *self.action_space.shape)  # type: ignore[misc]
        if taken.shape != expected or np.isnan(taken).any():
            problem = "are not numbers" if taken.shape == expected else f"have shape {taken.shape}"
            raise ValueError(f"the actions of {self._owner} {problem}; it takes {expected}")
        for group, own in zip(self._groups, np.split(taken, self._splits), strict=True):
            group.send("step", own)

    def step_wait(self) -> StepReturn:
        """Take the step; rows whose episode ended return the next episode's first observation."""
        observations, rewards, dones, infos = zip(*self._receive(), strict=True)
        joined = [info for of_group in infos for info in of_group]
        self.num_diverged += sum(info.get("diverged", False) for info in joined)
        return np.concatenate(observations), np.concatenate(rewards), np.concatenate(dones), joined

    def change_model(self, factors: Mapping[str, float]) -> None:
        """Change the MuJoCo model of every row from now on.

        Args:
            factors: See `lifelong_rl.envs.model_changes`.

        Raises:
            UserError: A factor is wrong, or the environment has no MuJoCo model.
        """
        self.env_method("change_model", dict(factors))

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next steps and episodes depend on.

        Raises:
            UserError: The environment depends on more than can be told.
        """
        if self._obstacle is not None:
            raise UserError(f"the episodes of {self._owner} cannot be repeated: {self._obstacle}")
        return {
            "rows": self.env_method("state_dict"),
            "seeds": list(self._seeds),
            "num_diverged": self.num_diverged,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state_dict` of as many rows of this task, to the last bit.

        The actions of every row's episode are taken once more.

        Raises:
            UserError: They lead elsewhere here.
            ValueError: It is of another number of rows.
        """
        if len(state["rows"]) != self.num_envs:
            raise ValueError(f"the state is of {len(state['rows'])} rows, not {self.num_envs}")
        for row, own in enumerate(state["rows"]):
            self.env_method("load_state_dict", own, indices=row)
        self._seeds = list(state["seeds"])
        self.num_diverged = state["num_diverged"]

    def close(self) -> None:
        """Close the environments, and end their processes."""
        for group in self._groups:
            group.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of every row, None where there is no render mode for one."""
        if self.render_mode is None:
            return [None] * self.num_envs
        return self.env_method("render")

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the rows."""
        return self._call("get_attr", indices, attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the rows."""
        self._call("set_attr", indices, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of the rows."""
        return self._call("env_method", indices, method_name, *args, **kwargs)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Say yes to ``Monitor`` alone: episodes report their return and length themselves."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def _call(self, name: str, indices: VecEnvIndices, *args: Any, **kwargs: Any) -> list[Any]:
        """Return what a method of Stable-Baselines3's environments returns for each row."""
        found = []
        for index in self._get_indices(indices):
            group, row = self._places[index]
            group.send(name, *args, indices=row, **kwargs)
            found.append(group.receive())
        return [answer[0] if answer else None for answer in found]

    def _receive(self) -> list[Any]:
        """Return what each group answers; all are heard before an error is raised."""
        answers, errors = [], []
        for group in self._groups:
            try:
                answers.append(group.receive())
            except (UserError, RuntimeError) as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return answers


class _Group(DummyVecEnv):
    """Some of the rows."""

    def begin(self, seeds: Sequence[int | None]) -> Any:
        """Start a new episode in every row, after seeding those that have a seed."""
        self._seeds = list(seeds)
        return self.reset()

    def spaces(self) -> tuple[Any, Any]:
        """Return the spaces of observations and of actions."""
        return self.observation_space, self.action_space


class _Here:
    """A group in this process."""

    def __init__(self, make: MakeRow, size: int) -> None:
        self._rows = _Group([make] * size)
        self._answer: Any = None

    def send(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of the group."""
        self._answer = getattr(self._rows, name)(*args, **kwargs)

    def receive(self) -> Any:
        """Return what it has returned."""
        return self._answer

    def close(self) -> None:
        """Close the environments."""
        self._rows.close()


class _Elsewhere:
    """A group in a process of its own, which ends with this one."""

    def __init__(self, make: MakeRow, size: int) -> None:
        # neither a fork of this process, which may have threads, nor of one with its descriptors
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, size), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Ask for a method of the group to be called."""
        with contextlib.suppress(BrokenPipeError):  # `receive` tells that it has ended
            self._connection.send((name, args, kwargs))

    def receive(self) -> Any:
        """Return what it has returned.

        Raises:
            UserError: It has raised one, or the process has ended.
            RuntimeError: It has raised something else.
        """
        try:
            kind, answer = self._connection.recv()
        except (EOFError, ConnectionError):
            raise UserError(
                "a process that steps environments has ended; with processes: false the error shows"
            ) from None
        if kind is not None:
            raise kind(answer)
        return answer

    def close(self) -> None:
        """Let the process end."""
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, make: MakeRow, size: int) -> None:
    """Step a group until the other end of the connection is closed."""
    # Ctrl-C is for the run, which may still have to save where its environments stand
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    group: _Group | None = None
    while True:
        try:
            name, args, kwargs = connection.recv()
        except (EOFError, ConnectionError):
            break
        try:
            group = _Group([make] * size) if group is None else group
            answer: Any = None, getattr(group, name)(*args, **kwargs)
        except UserError as error:
            answer = UserError, str(error)
        except Exception as error:  # anyone's
            answer = RuntimeError, f"{type(error).__name__}: {error}"
        with contextlib.suppress(BrokenPipeError):
            connection.send(answer)
    if group is not None:
        group.close()
