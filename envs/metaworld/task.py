"""A task of Meta-World in a stream."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lifelong_rl.compatibility import Trait
from lifelong_rl.envs.datasets import Store, make_anew
from lifelong_rl.envs.gym_row import GymRow
from lifelong_rl.envs.metaworld.env import (
    ACTION_DIM,
    HORIZON,
    OBSERVATION_DIMS,
    MetaWorldEnv,
    ObservationKind,
    RewardVersion,
    check_setting,
)
from lifelong_rl.envs.metaworld.installed import VERSION
from lifelong_rl.errors import UserError, lookup
from lifelong_rl.text import is_one_line, shorten

if TYPE_CHECKING:
    from lifelong_rl.envs.metaworld.vec_env import MetaWorldVecEnv

KIND = "metaworld"
"""What stands before the name of a task."""


@dataclass(frozen=True)
class MetaWorldTask:
    """One of Meta-World's tasks; Meta-World itself is needed once its environments are made.

    Attributes:
        id: its name in Meta-World, such as push-v3.
        label: what the task is called.
        reward: version of the rewards, "v1" or "v2"; see `MetaWorldEnv`.
        horizon: control steps of an episode.
        observation: "full", Meta-World's 39 numbers, or "short", Continual World's 12.
        processes: whether its environments are stepped in processes of their own, as many as
            threads are asked for.
        store: has or makes its demonstrations.
    """

    id: str
    label: str
    reward: RewardVersion = "v2"
    horizon: int = HORIZON
    observation: ObservationKind = "full"
    processes: bool = False
    store: Store = field(default=make_anew, compare=False, repr=False)

    measure = "success"
    most_envs = 5  # that are evaluated at once: each has a model of its own, of 22 MB
    offers: tuple[Trait, ...] = field(
        default=("continuous actions", "expert"), init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check all but the name, which Meta-World knows.

        Raises:
            UserError: a value is not allowed.
        """
        check_setting(self.id, self.reward, self.horizon, self.observation)
        if not isinstance(self.processes, bool):
            raise UserError(
                f"processes of the task '{self.id}' of Meta-World is {shorten(self.processes)}; it "
                "is true or false"
            )

    @classmethod
    def parse(cls, value: str | Mapping[str, Any]) -> MetaWorldTask:
        """Read ``"metaworld:NAME"``, or a mapping with ``id`` and other attributes, as YAML has it.

        Raises:
            UserError: something in it is wrong; the message is one line.
        """
        content = {"id": value.removeprefix(f"{KIND}:")} if isinstance(value, str) else value
        allowed = dict.fromkeys(("id", "label", "reward", "horizon", "observation", "processes"))
        for key in content:
            lookup("key of a task of Meta-World", str(key), allowed, see="")
        name = content.get("id")
        if not isinstance(name, str) or not name or not is_one_line(name):
            raise UserError(
                f"the id of a task of Meta-World is {shorten(name)}; it is a name such as push-v3"
            )
        return cls(**{"label": name, **content})

    @property
    def version(self) -> str:
        """Meta-World's, and all else that decides the task's results."""
        told = f"{VERSION}-reward-{self.reward}-horizon-{self.horizon}"
        return told if self.observation == "full" else f"{told}-{self.observation}"

    @property
    def note(self) -> str | None:
        """What should be known of it, in a line."""
        if (self.id, self.reward) == ("stick-pull-v3", "v1"):
            return (
                "rewards of version v1 of stick-pull-v3 take part of the stick's own position for "
                "that of the thermos (entries 6 to 8 of the full observation, not 11 to 13), as "
                "Meta-World has them"
            )
        return None

    def dims(self) -> tuple[int, int]:
        """Return how many numbers an observation and an action are."""
        return OBSERVATION_DIMS[self.observation], ACTION_DIM

    def with_store(self, store: Store) -> MetaWorldTask:
        """Return the same task with another store of demonstrations."""
        return replace(self, store=store)

    def make(self, render_mode: str | None = None) -> MetaWorldEnv:
        """Return one environment as Meta-World shows it.

        Args:
            render_mode: see `MetaWorldEnv`.

        Raises:
            UserError: Meta-World has no such task, or is not installed as it has to be.
        """
        return MetaWorldEnv(
            self.id,
            reward=self.reward,
            horizon=self.horizon,
            observation=self.observation,
            render_mode=render_mode,
        )

    def make_env(
        self,
        *,
        num_envs: int,
        num_threads: int = 1,
        seed: int | None = None,
        one_hot: tuple[int, int] | None = None,
        obs_dim: int | None = None,
        action_dim: int | None = None,
        render_mode: str | None = None,
    ) -> MetaWorldVecEnv:
        """Return the task's environments; see `lifelong_rl.envs.gym_tasks.GymTask.make_env`.

        Raises:
            UserError: Meta-World has no such task, or is not installed as it has to be.
        """
        from lifelong_rl.envs.metaworld.vec_env import (
            MetaWorldVecEnv,  # imports Stable-Baselines3, and with it torch
        )

        make = partial(
            make_row,
            self.with_store(make_anew),  # processes are not asked for demonstrations
            one_hot=one_hot,
            obs_dim=obs_dim,
            action_dim=action_dim,
            render_mode=render_mode,
        )
        env = MetaWorldVecEnv(
            make,
            num_envs,
            (num_threads or os.cpu_count() or 1) if self.processes else 1,
            self._owner,
            one_hot=one_hot,
            make_alone=partial(make_row, self),
            horizon=self.horizon,
            store=self.store,
            described={"task": self.id, "task_version": self.version},
        )
        if seed is not None:
            env.seed(seed)
        return env

    @property
    def _owner(self) -> str:
        return f"the task '{self.label}'"


def make_row(
    task: MetaWorldTask,
    *,
    one_hot: tuple[int, int] | None = None,
    obs_dim: int | None = None,
    action_dim: int | None = None,
    render_mode: str | None = None,
) -> GymRow:
    """Return one environment of a task as a stream shows it, see `GymRow`."""
    return GymRow(
        task.make(render_mode),
        task._owner,
        success="success",
        one_hot=one_hot,
        obs_dim=obs_dim,
        action_dim=action_dim,
    )
