"""Any environment of Gymnasium with continuous spaces as a task: ``gym:Reacher-v5``, or from YAML.

What a file may name is limited. Wrappers are code: importing them is left to classes of Gymnasium
itself, and of modules that the user has named with ``--plugin``; so are environments that a module
registers when it is imported.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib import import_module
from numbers import Real
from typing import TYPE_CHECKING, Any

import gymnasium
import mujoco

from lifelong_rl.envs.batch_env import log_to_no_file
from lifelong_rl.envs.gym_row import GymRow, find_replay_obstacle
from lifelong_rl.envs.score_ranges import SCORE_RANGES
from lifelong_rl.errors import UnknownNameError, UserError, lookup, no_exit
from lifelong_rl.registry import LOADED_PLUGINS, load_plugins, refuse_unnamed
from lifelong_rl.text import one_line, shorten

if TYPE_CHECKING:
    from lifelong_rl.envs.gym_vec_env import GymVecEnv

KIND = "gym"
"""What stands before the id in the name of a task."""
LABEL = re.compile(r"\w[\w.-]*")
"""What a task is called: files are named after it."""
LABELS = "letters, digits, '_', '.' and '-', the first of it one of the first three"
"""Labels are printed, and files are called after them."""
_WRITES_FILES = ("RecordVideo",)


@dataclass(frozen=True)
class WrapperCall:
    """A wrapper around an environment.

    Attributes:
        module: where its class is.
        name: of the class.
        kwargs: its arguments beside the environment.
    """

    module: str
    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: object) -> WrapperCall:
        """Read ``"module:Class"`` or ``{"class": "module:Class", "kwargs": {...}}``.

        Raises:
            UserError: It is something else, or names a module that the user has not.
        """
        content = value if isinstance(value, Mapping) else {"class": value}
        for key in content:
            lookup("key of a wrapper", one_line(str(key)), {"class": None, "kwargs": None}, see="")
        path = content.get("class")
        module, _, name = path.partition(":") if isinstance(path, str) else ("", "", "")
        if not module or not name.isidentifier():
            raise UserError(
                f"the wrapper {shorten(value)} is not MODULE:CLASS, such as "
                "gymnasium.wrappers:RescaleObservation"
            )
        owner = f"the wrapper {shorten(path)}"
        if module.partition(".")[0] != "gymnasium":
            try:
                refuse_unnamed([module], LOADED_PLUGINS)
            except UserError as error:
                raise UserError(f"{owner}: {error}") from error
        if name in _WRITES_FILES:
            raise UserError(f"{owner} writes files; film with lifelong-rl record")
        return cls(module, name, _check_kwargs(content.get("kwargs"), owner))

    def wrap(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        """Return an environment in this wrapper.

        Raises:
            UserError: There is no such wrapper, or it refuses the environment or the arguments.
        """
        path = f"{self.module}:{self.name}"
        try:
            with no_exit():
                found = import_module(self.module)
                lookup(f"class of {self.module}", self.name, vars(found), see="")
                wrapper = getattr(found, self.name)
                if not isinstance(wrapper, type) or not issubclass(wrapper, gymnasium.Wrapper):
                    raise UserError("it is no subclass of gymnasium.Wrapper")
                return wrapper(env, **self.kwargs)
        except Exception as error:  # anyone's
            raise UserError(
                f"the wrapper '{path}' cannot be used: {one_line(str(error))}"
            ) from error


@dataclass(frozen=True)
class _Probe:
    """What making an environment, and a few steps in it, tell.

    Attributes:
        dims: numbers in an observation and in an action.
        obstacle: why its episodes cannot be gone on with elsewhere, None if they can.
    """

    dims: tuple[int, int]
    obstacle: str | None


@dataclass(frozen=True)
class GymTask:
    """An environment of Gymnasium as a task of a stream.

    Attributes:
        id: of the environment.
        label: what the task is called.
        kwargs: arguments of ``gymnasium.make``.
        wrappers: around the environment, the innermost first.
        success: key of info that is true at any step of an episode that succeeded; or the return
            from which on an episode has; None where there is no success.
        score_range: returns that are scored 0 and 1; None leaves the return as it is.
        processes: whether its environments are stepped in processes of their own, as many as
            threads are asked for.
    """

    id: str
    label: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[WrapperCall, ...] = ()
    success: str | float | None = None
    score_range: tuple[float, float] | None = None
    processes: bool = False

    @classmethod
    def parse(cls, value: str | Mapping[str, Any]) -> GymTask:
        """Read ``"gym:ID"``, or a mapping with ``id`` and other attributes, as YAML has it.

        The environment is not made: see `dims`. Where nothing else says how episodes are measured,
        and the environment is made without arguments and wrappers, the range of `SCORE_RANGES`
        does.

        Raises:
            UserError: Something in it is wrong; the message is one line.
        """
        content: Mapping[str, Any]
        if isinstance(value, str):
            kind, _, name = value.partition(":")
            if kind != KIND or not name:
                raise UserError(f"{shorten(value)} is not gym:ID, such as gym:Reacher-v5")
            content = {"id": name}
        elif isinstance(value, Mapping):
            content = value
        else:
            raise UserError(f"{shorten(value)} is neither gym:ID nor a mapping with an id")
        for key in content:
            lookup("key of a Gymnasium task", one_line(str(key)), cls.__dataclass_fields__, see="")
        if "id" not in content:
            raise UserError("a Gymnasium task has no id; add one, such as id: Reacher-v5")
        name = _check_id(content["id"])
        owner = f"the task '{name}'"
        kwargs = _check_kwargs(content.get("kwargs"), owner)
        wrappers = _parse_wrappers(content.get("wrappers"), owner)
        success = _check_success(content.get("success"), owner)
        if success is not None and content.get("score_range") is not None:
            raise UserError(
                f"{owner} has both success and score_range; success decides what is measured, so "
                "leave out score_range"
            )
        score_range = _check_range(content.get("score_range"), owner)
        if "score_range" not in content and success is None and not kwargs and not wrappers:
            shipped = SCORE_RANGES.get(name)
            score_range = None if shipped is None else (shipped.low, shipped.high)
        label = content.get("label", name.rpartition("/")[2])
        if not isinstance(label, str):
            raise UserError(
                f"the label of {owner} is {shorten(label)}, which is no text; write it in quotes"
            )
        if not LABEL.fullmatch(label):
            raise UserError(f"the label of {owner} is {shorten(label)}; it is made of {LABELS}")
        processes = content.get("processes", False)
        if not isinstance(processes, bool):
            raise UserError(f"processes of {owner} is {shorten(processes)}; it is true or false")
        return cls(name, label, kwargs, wrappers, success, score_range, processes)

    @property
    def measure(self) -> str:
        """What its episodes are measured by: "success", "score" or "return"."""
        if self.success is not None:
            return "success"
        return "return" if self.score_range is None else "score"

    @property
    def version(self) -> str:
        """The environment's own version, and a digest of all else that decides its results."""
        decides = {
            "id": self.id,
            "kwargs": self.kwargs,
            "wrappers": [[call.module, call.name, call.kwargs] for call in self.wrappers],
            "success": self.success,
            "score_range": self.score_range,
        }
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]
        _, dash, number = self.id.rpartition("-")
        return f"{number}-{digest}" if dash else digest

    def dims(self) -> tuple[int, int]:
        """Return how many numbers an observation and an action are.

        Raises:
            UserError: The environment cannot be made or used.
        """
        return self._probe.dims

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
    ) -> GymVecEnv:
        """Return the task's environments.

        Args:
            num_envs: number of environments.
            num_threads: processes that step them, where `processes` says so; 0 takes every CPU.
            seed: seeds the environments' episodes.
            one_hot: (task id, number of tasks) appended to observations.
            obs_dim: numbers before it, by default the environment's own.
            action_dim: numbers of an action, by default the environment's own.
            render_mode: of Gymnasium.

        Raises:
            UserError: The environment cannot be made or used.
        """
        from lifelong_rl.envs.gym_vec_env import GymVecEnv  # imports Stable-Baselines3, and torch

        count = (num_threads or os.cpu_count() or 1) if self.processes else 1
        make = partial(
            _make_row,
            replace(self),  # without what is known of it, which processes need not be told
            tuple(sorted(LOADED_PLUGINS)) if count > 1 else (),  # they are here already
            one_hot=one_hot,
            obs_dim=obs_dim,
            action_dim=action_dim,
            render_mode=render_mode,
        )
        env = GymVecEnv(make, num_envs, count, self._owner, self._probe.obstacle)
        if seed is not None:
            env.seed(seed)
        return env

    def make_row(
        self,
        *,
        one_hot: tuple[int, int] | None = None,
        obs_dim: int | None = None,
        action_dim: int | None = None,
        render_mode: str | None = None,
    ) -> GymRow:
        """Return one environment.

        Args:
            one_hot: see `make_env`.
            obs_dim: see `make_env`.
            action_dim: see `make_env`.
            render_mode: see `make_env`.

        Raises:
            UserError: It cannot be made.
        """
        log_to_no_file()
        options = {"disable_env_checker": True, **self.kwargs}
        if render_mode is not None:
            options["render_mode"] = render_mode
        try:
            with no_exit():
                env = gymnasium.make(self.id, **options)
        except Exception as error:  # anyone's
            raise UserError(f"{self._owner} cannot be made: {one_line(str(error))}") from error
        for call in self.wrappers:
            env = call.wrap(env)
        return GymRow(
            env,
            self._owner,
            success=self.success,
            score_range=self.score_range,
            one_hot=one_hot,
            obs_dim=obs_dim,
            action_dim=action_dim,
        )

    @property
    def _owner(self) -> str:
        return f"the task '{self.label}'"

    @cached_property
    def _probe(self) -> _Probe:
        row = self.make_row()
        try:
            return _Probe(row.own_dims, find_replay_obstacle(row))
        except UserError:
            raise
        except Exception as error:  # anyone's
            raise UserError(
                f"{self._owner} cannot be used: {type(error).__name__}: {one_line(str(error))}"
            ) from error
        finally:
            row.close()


def _make_row(task: GymTask, plugins: tuple[str, ...], **options: Any) -> GymRow:
    """Return one environment of a task, also in a process that has no plug-ins yet.

    What MuJoCo says of its model was said when the task was looked at.
    """
    load_plugins(plugins)
    config = mujoco.MjLogConfig.get()
    aloud, config.logto_console = config.logto_console, False
    config.set()
    try:
        return task.make_row(**options)
    finally:
        config.logto_console = aloud
        config.set()


def _check_id(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise UserError(f"the id of a Gymnasium task is {shorten(name)}, not a text")
    if name in gymnasium.registry:
        return name
    module, colon, rest = name.partition(":")
    if colon:
        raise UserError(
            f"the environment {shorten(name)} is named with a module; write its id alone, "
            f"{shorten(rest)}, and add --plugin {one_line(module)}"
        )
    near = difflib.get_close_matches(name, gymnasium.registry, n=1, cutoff=0.5)
    raise UnknownNameError(
        "environment", one_line(name), near or SCORE_RANGES, see="gymnasium.pprint_registry()"
    )


def _check_kwargs(kwargs: object, owner: str) -> dict[str, Any]:
    """Return keyword arguments, which are plain values.

    Raises:
        UserError: They are something else.
    """
    if kwargs is None:
        return {}
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        raise UserError(f"kwargs of {owner} is {shorten(kwargs)}, not a mapping of names to values")
    try:
        json.dumps(kwargs)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"kwargs of {owner} is no plain value: {one_line(str(error))}") from error
    return dict(kwargs)


def _parse_wrappers(value: object, owner: str) -> tuple[WrapperCall, ...]:
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)):
        raise UserError(f"wrappers of {owner} is {shorten(value)}, not a list")
    return tuple(map(WrapperCall.parse, value))


def _check_success(value: object, owner: str) -> str | float | None:
    if value is None or (isinstance(value, str) and value):
        return value
    if _is_number(value):
        return float(value)  # type: ignore[arg-type]
    raise UserError(
        f"success of {owner} is {shorten(value)}; it is the name of an entry of info, or the "
        "return from which on an episode succeeds"
    )


def _check_range(value: object, owner: str) -> tuple[float, float] | None:
    if value is None:
        return None
    if (
        not isinstance(value, (list, tuple))
        or len(value) != 2
        or not all(map(_is_number, value))
        or not value[0] < value[1]
    ):
        raise UserError(
            f"score_range of {owner} is {shorten(value)}; it is the returns that are scored 0 and "
            "1, the lower one first"
        )
    return float(value[0]), float(value[1])


def _is_number(value: object) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False
