"""Environments of Gymnasium for tests; importing this module registers them."""

from __future__ import annotations

import random
from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env[Any, Any]):
    """A point on a line that is pushed and shaken; beyond ±1 its episode terminates.

    The wall on the right is a success. Actions lie in [-2, 4].
    """

    observation_space: Any = spaces.Box(-np.inf, np.inf, (3,), np.float64)
    action_space: Any = spaces.Box(-2.0, 4.0, (1,), np.float32)

    def __init__(self, size: float = 0.1, shake: float = 0.02) -> None:
        self.size, self.shake = size, shake
        self.place, self.taken = 0.0, np.zeros(1, np.float32)
        self.model: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = float(self.np_random.uniform(-0.5, 0.5))
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.taken = action
        self.place += self.size * float(action[0]) + self.shake * self.np_random.standard_normal()
        over = abs(self.place) > 1
        return self.observe(), self.place, over, False, {"reached": self.place > 1}

    def observe(self) -> Any:
        return np.array([self.place, self.size, self.shake])


class Both(Walk):
    """A walk that can terminate at the very step at which it is truncated, the third."""

    def step(self, action: Any) -> Any:
        observation, reward, _, _, info = super().step(action)
        self.steps += 1
        return observation, reward, self.steps == 3 and self.place > 0, self.steps == 3, info

    def reset(self, **options: Any) -> Any:
        self.steps = 0
        return super().reset(**options)


class Parts(Walk):
    """A walk that shows itself in parts, some of them nested."""

    observation_space = spaces.Dict(
        {
            "where": spaces.Box(-2, 2, (1,), np.float32),
            "what": spaces.Dict({"size": spaces.Box(0, 1, (2, 1), np.float64)}),
            "pair": spaces.Tuple((spaces.Box(-9, 9, (), np.float32),)),
        }
    )

    def observe(self) -> Any:
        sizes = np.array([[self.size], [self.shake]])
        return {
            "where": np.array([self.place], np.float32),
            "what": {"size": sizes},
            "pair": (np.array(7.0, np.float32),),
        }


class Unseeded(Walk):
    """A walk that is shaken by a generator that nobody seeds."""

    def observe(self) -> Any:
        return np.array([self.place, random.random(), 0.0])


class Secret(Walk):
    """A walk that draws something of its own at the reset, and shows it much later."""

    def reset(self, **options: Any) -> Any:
        self.secret, self.steps = random.random(), 0
        return super().reset(**options)

    def observe(self) -> Any:
        self.steps += 1
        return np.array([self.place, self.secret if self.steps > 12 else 0.0, 0.0])


class Remade(Walk):
    """A walk with a MuJoCo model that is made anew for each episode."""

    def reset(self, **options: Any) -> Any:
        self.model = mujoco.MjModel.from_xml_string("<mujoco/>")
        return super().reset(**options)


class Hardening(Walk):
    """A walk that goes slower with every episode."""

    def reset(self, **options: Any) -> Any:
        self.size *= 0.9
        return super().reset(**options)


class Broken(Walk):
    """A walk whose observations become wrong, by the size of its steps."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        if self.size == 0.2:
            observation[0] = np.nan
        if self.size == 0.3:
            observation = observation[:1]
        if self.size == 0.4:
            raise RuntimeError("the motor is on fire")
        if self.size == 0.5:
            raise SystemExit(3)
        return observation, reward, terminated, truncated, info


class Unbounded(Walk):
    """A walk whose actions have no bounds."""

    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)


class Whole(Walk):
    """A walk of whole steps."""

    action_space = spaces.Box(0, 3, (1,), np.int32)


class Switch(Walk):
    """A walk that shows a switch."""

    observation_space = spaces.Dict({"where": spaces.Box(-2, 2, (1,)), "on": spaces.Discrete(2)})


class Shift(gymnasium.ActionWrapper[Any, Any, Any]):
    """A wrapper that adds to actions."""

    def __init__(self, env: gymnasium.Env[Any, Any], by: float) -> None:
        super().__init__(env)
        self.by = by

    def action(self, action: Any) -> Any:
        return np.clip(action + np.float32(self.by), -2, 4).astype(np.float32)


class NoWrapper:
    """A class that is no wrapper."""


for _class in (
    Walk,
    Both,
    Parts,
    Unseeded,
    Secret,
    Remade,
    Hardening,
    Broken,
    Unbounded,
    Whole,
    Switch,
):
    gymnasium.register(
        f"toy/{_class.__name__}-v0", f"toy_envs:{_class.__name__}", max_episode_steps=20
    )
