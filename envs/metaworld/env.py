"""A single environment of Meta-World, as Continual World uses it."""

from __future__ import annotations

from typing import Any, Literal, get_args

import gymnasium
import numpy as np
import numpy.typing as npt

from lifelong_rl.envs.metaworld.experts import Expert, get_expert
from lifelong_rl.envs.metaworld.faster import make_faster
from lifelong_rl.envs.metaworld.installed import import_metaworld
from lifelong_rl.errors import UserError, lookup
from lifelong_rl.text import shorten

Array = npt.NDArray[np.float64]
RewardVersion = Literal["v1", "v2"]
ObservationKind = Literal["full", "short"]

HORIZON = 200
"""Control steps of an episode in Continual World (Wolczyk et al. 2021); Meta-World's own is 500."""
ACTION_DIM = 4
SHORT = np.r_[0:3, 4:7, 11:14, 36:39]
"""The entries of Meta-World's observation that Continual World's has: positions of the hand, of the
first object, of the second (zeros where there is one object) and of the goal."""
OBSERVATION_DIMS: dict[ObservationKind, int] = {"full": 39, "short": len(SHORT)}


class MetaWorldEnv(gymnasium.Env[Array, npt.NDArray[np.float32]]):
    """One of Meta-World's fifty tasks; each episode starts anew at random.

    Meta-World's own environment does the steps and the resets, in the setting of Continual World:
    the goal is observed, every episode draws its own start and goal, and an episode is truncated
    at the horizon and never terminates. It draws from this environment's generator, so that
    ``reset(seed=)`` decides all episodes that follow.

    The full observation is Meta-World's, (39,):

    ======  =============================================================
    0:3     position of the hand, m
    3       opening of the gripper, 0 to 1
    4:7     position of the first object, m
    7:11    quaternion of the first object (zeros where it does not turn)
    11:14   position of the second object, m; zeros where there is one
    14:18   quaternion of the second object
    18:36   the first 18 entries one control step before
    36:39   position of the goal, m
    ======  =============================================================

    The short one, (12,), is that of Continual World: hand, first object, second object, goal.
    Actions are a step of the hand in x, y and z of at most 1 cm and the effort of the gripper,
    (4,), in [-1, 1].

    ``info`` is Meta-World's: ``success`` (of the current state, 0 or 1), ``unscaled_reward`` and
    the parts of the reward.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 80}  # noqa: RUF012 (as in the base class)

    def __init__(
        self,
        name: str,
        *,
        reward: RewardVersion = "v2",
        horizon: int = HORIZON,
        observation: ObservationKind = "full",
        render_mode: str | None = None,
    ) -> None:
        """Make the environment of one task.

        Args:
            name: the task's name in Meta-World, such as push-v3.
            reward: version of the rewards: "v1", those of the first Meta-World, which Continual
                World learns from; or "v2", of 0 to 10. v1 goes from below zero to a thousand and
                more: results of the two are not comparable.
            horizon: control steps of an episode, at least 1.
            observation: "full" or "short".
            render_mode: None, "rgb_array" or "human".

        Raises:
            UnknownNameError: if there is no such task.
            UserError: if a value is not allowed, or Meta-World is not installed as it has to be.
        """
        check_setting(name, reward, horizon, observation)
        names = import_metaworld().ALL_V3_ENVIRONMENTS
        lookup("task of Meta-World", name, names, see="")
        environment_class = make_faster(names[name])
        env = environment_class(reward_function_version=reward, render_mode=render_mode)
        # as MT50 of Meta-World does it by set_task: the goal is shown; and as Continual World does
        # it: starts are drawn, not frozen
        env._partially_observable = False
        del env.sawyer_observation_space  # is cached, with the goal's bounds at zero
        env._set_task_called = True
        env._freeze_rand_vec = False
        env.seeded_rand_vec = True
        env.max_path_length = horizon
        self.name = name
        self.render_mode = render_mode
        self.horizon = horizon
        self._env = env
        self._short = observation == "short"
        self._expert: Expert | None = None
        self._full: Array = np.zeros(OBSERVATION_DIMS["full"])
        # Meta-World's own bounds do not hold at the start of an episode
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, (OBSERVATION_DIMS[observation],), np.float64
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_DIM,), np.float32)

    @property
    def model(self) -> Any:
        """The MuJoCo model, of this environment alone."""
        return self._env.model

    @property
    def data(self) -> Any:
        """The state of the simulation."""
        return self._env.data

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode: the first one of ``seed``, or the next if it is None."""
        super().reset(seed=seed)
        self._env.np_random = self.np_random
        self._full, info = self._env.reset()
        return self._shown(), info

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take one control step; ``terminated`` is always false."""
        self._full, reward, _, truncated, info = self._env.step(action)
        return self._shown(), float(reward), False, truncated, info

    def expert_action(self) -> npt.NDArray[np.float32]:
        """Return what the task's expert would do now, (4,), in [-1, 1]."""
        if self._expert is None:
            self._expert = get_expert(self.name)
        return np.clip(self._expert(self._full), -1.0, 1.0).astype(np.float32)

    def render(self) -> Any:
        """Return a picture or show it, as the render mode says."""
        return self._env.render()

    def close(self) -> None:
        """Free the OpenGL contexts, if there are any."""
        self._env.close()

    def _shown(self) -> Array:
        return self._full[SHORT] if self._short else self._full


def check_setting(name: str, reward: object, horizon: object, observation: object) -> None:
    """Check what a task of Meta-World is made with, see `MetaWorldEnv`.

    Raises:
        UserError: if a value is not allowed.
    """
    owner = f"the task '{name}' of Meta-World"
    if reward not in get_args(RewardVersion):
        raise UserError(f"the reward of {owner} is {shorten(reward)}; it is v1 or v2")
    if observation not in get_args(ObservationKind):
        raise UserError(
            f"the observation of {owner} is {shorten(observation)}; it is full or short"
        )
    if not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1:
        raise UserError(
            f"the horizon of {owner} is {shorten(horizon)}; it is a number of control steps, at "
            "least 1"
        )
