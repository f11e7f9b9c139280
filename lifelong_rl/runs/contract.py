"""What comes from outside is held to what the loop asks of it, before it decides any number.

The protocols are `Sequence` and `VecEnvLike` of `lifelong_rl.runs.sequence`, and `Agent` and
`Component` of `lifelong_rl.learning`. Hooks of methods are checked where they are called, in
`lifelong_rl.learning.gradient_step`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from torch import nn
from torch.optim import Optimizer

from lifelong_rl.errors import ContractError, UserError

AGENT = (
    "components",
    "begin_task",
    "learn_task",
    "end_task",
    "act",
    "diagnostics",
    "state_dict",
    "load_state_dict",
)
LEARNER = ("num_tasks", "task_data")
"""What only a method asks of an agent."""
COMPONENT = ("name", "role", "inputs", "replayable", "loss", "predict", "with_task")
ENV = ("num_envs", "observation_space", "action_space", "seed", "reset", "step", "close")


def check_sequence(sequence: Any, name: str) -> None:
    """Check what a sequence tells of its tasks.

    Args:
        sequence: Of anyone's making.
        name: As registered.

    Raises:
        ContractError: It is no `Sequence`.
    """
    owner = f"the sequence '{name}'"
    _require(sequence, ("tasks", "num_tasks", "make_env", "versions"), owner, "a Sequence")
    tasks, versions = sequence.tasks, sequence.versions()
    if not isinstance(tasks, (tuple, list)) or not tasks or not all(map(_is_text, tasks)):
        raise ContractError(owner, f"tasks is {tasks!r}, not a tuple of names")
    if sequence.num_tasks != len(tasks):
        raise ContractError(owner, f"num_tasks is {sequence.num_tasks!r}, of {len(tasks)} tasks")
    if not isinstance(versions, Mapping) or not all(_is_text(versions.get(t)) for t in tasks):
        raise ContractError(
            owner, f"versions() is {versions!r}, not the version of each task as a text"
        )
    measures = getattr(sequence, "measures", None)
    if measures is not None and (
        len(measures) != len(tasks) or not set(measures) <= {"success", "score", "return"}
    ):
        raise ContractError(
            owner, f"measures is {measures!r}, not 'success', 'score' or 'return' for each task"
        )
    steps = getattr(sequence, "steps_per_task", 1)
    if not _is_count(steps):
        raise ContractError(owner, f"steps_per_task is {steps!r}, not a number of steps")
    if getattr(sequence, "phases", None) is not None:
        _check_phases(sequence, owner)


def _check_phases(sequence: Any, owner: str) -> None:
    _require(sequence, ("heads", "num_heads", "make_phase_env"), owner, "a Sequence with phases")
    count, learned = len(sequence.tasks), set()
    for number, phase in enumerate(sequence.phases, 1):
        part = f"phase {number} of {owner}"
        _require(phase, ("tasks", "steps", "announced"), part, "a Phase")
        tasks, steps = tuple(phase.tasks), phase.steps
        if not tasks or not set(tasks) <= set(range(count)) or len(set(tasks)) < len(tasks):
            raise ContractError(part, f"tasks is {tasks!r}, not positions of its {count} tasks")
        if steps is not None and not _is_count(steps):
            raise ContractError(part, f"steps is {steps!r}, not a number of steps")
        learned |= set(tasks)
    missing = [task for k, task in enumerate(sequence.tasks) if k not in learned]
    if missing:
        raise ContractError(owner, f"no phase learns {', '.join(missing)}")
    heads, num_heads = tuple(sequence.heads), sequence.num_heads
    if len(heads) != count or not set(heads) <= set(range(num_heads)):
        raise ContractError(
            owner, f"heads is {heads!r}, not one of {num_heads!r} heads for each of {count} tasks"
        )


def check_agent(agent: Any, owner: str, method: str | None) -> None:
    """Check what an agent consists of.

    Args:
        agent: Made by anyone's `build`.
        owner: What to call it, such as "the agent 'sac'".
        method: Name of the method, which asks for more; None for one that does nothing.

    Raises:
        ContractError: It is no `Agent`.
        UserError: It has no networks, and the method is about these.
    """
    _require(agent, AGENT, owner, "an Agent")
    if not isinstance(agent.components, Mapping):
        raise ContractError(
            owner, f"components is {agent.components!r}, not a mapping of names to components"
        )
    for name, component in agent.components.items():
        part = f"component '{name}' of {owner}"
        _require(component, COMPONENT, part, "a Component")
        if component.role not in ("policy", "value"):
            raise ContractError(part, f"role is {component.role!r}, not 'policy' or 'value'")
        for attribute, kind in (("module", nn.Module), ("optimizer", Optimizer)):
            found = getattr(component, attribute, None)
            if not isinstance(found, kind):
                raise ContractError(part, f"{attribute} is {found!r}, not a torch {kind.__name__}")
    if method is not None and not agent.components:
        raise UserError(
            f"the method '{method}' reacts around the learning of networks, and {owner} has none "
            "(its components are empty); take --method finetune"
        )
    if method is not None:
        _require(agent, LEARNER, owner, "an Agent")


def check_diagnostics(found: Any, owner: str) -> Mapping[str, float]:
    """The numbers that an agent reports, once they are known to be numbers.

    Raises:
        ContractError: They are something else.
    """
    if not isinstance(found, Mapping) or not all(map(_is_text, found)):
        raise ContractError(owner, f"diagnostics() is {found!r}, not a mapping of names to numbers")
    for name, value in found.items():
        if not isinstance(value, Real):
            raise ContractError(owner, f"'{name}' of diagnostics() is {value!r}, not a number")
    return {name: float(value) for name, value in found.items()}


class EnvContract:
    """What environments show and take, and whether they keep to it.

    The constructor checks what they are made of, and `check_reset` and `check_step` what they
    return. All of it is a comparison of shapes, but that observations are finite, which costs
    little where they are not pictures, and these always are.

    Args:
        env: Of anyone's making.
        owner: What to call them, such as "task 'reach' of the sequence 'arm3'".
        num_envs: As many as were asked for.
        at_least: Whether there may be more.

    Attributes:
        spaces: Shape and type of what they show and take, in words.

    Raises:
        ContractError: They are not environments, or not `num_envs` of them.
    """

    def __init__(self, env: Any, owner: str, num_envs: int, *, at_least: bool = False) -> None:
        self._owner = owner
        _require(env, ENV, owner, "environments that make_env returns")
        found = env.num_envs
        if found != num_envs and not (at_least and found > num_envs):
            raise ContractError(owner, f"make_env returns {found!r} environments, not {num_envs}")
        self._num_envs = found
        self._shown = dict(_leaves(env.observation_space))
        self._taken = getattr(env.action_space, "shape", None)
        if not self._shown or self._taken is None:
            raise ContractError(
                owner,
                "observation_space and action_space are spaces of Gymnasium, not "
                f"{env.observation_space!r} and {env.action_space!r}",
            )
        shown = ", ".join(f"{n or 'observations'} {s} {t}" for n, (s, t) in self._shown.items())
        self.spaces = f"{shown}, {env.action_space}"

    def check_reset(self, observations: Any, task_id: int | None = None, num_tasks: int = 1) -> Any:
        """The observations that `reset` returned, once they are as the space says.

        Args:
            observations: Of all environments.
            task_id: The task that their one-hot has to tell; None for any.
            num_tasks: Its length; with 1 there may be none.

        Raises:
            ContractError: They are otherwise.
        """
        if isinstance(observations, tuple):
            raise ContractError(
                self._owner, "reset() returns observations alone, not a tuple with infos"
            )
        self._check_observations(observations, "reset()", None)
        if task_id is not None and num_tasks > 1:
            rows = observations if "" in self._shown else observations.get("state")
            one_hot = np.arange(num_tasks) == task_id
            if rows is not None and not (
                rows.ndim == 2
                and rows.shape[1] >= num_tasks
                and (rows[:, -num_tasks:] == one_hot).all()
            ):
                raise ContractError(
                    self._owner,
                    f"observations have to end with the one-hot of task {task_id} of {num_tasks}",
                )
        return observations

    def check_step(self, found: Any, running: np.ndarray) -> tuple[Any, Any, Any, Any]:
        """What `step` returned, once it is as `VecEnvLike` says.

        Args:
            found: It.
            running: Whether each environment counts, (n,) bool.

        Raises:
            ContractError: It is otherwise.
        """
        if not isinstance(found, tuple) or len(found) != 4:
            count = f"{len(found)} values" if isinstance(found, tuple) else repr(type(found))
            raise ContractError(
                self._owner, f"step() returns observations, rewards, dones and infos, not {count}"
            )
        observations, rewards, dones, infos = found
        self._check_observations(observations, "step()", running)
        n = self._num_envs
        for name, values, kinds, kind in (
            ("rewards", rewards, "fiu", "numbers"),
            ("dones", dones, "b", "bool"),
        ):
            if not _is_array(values, (n,)) or values.dtype.kind not in kinds:
                raise ContractError(
                    self._owner, f"step() returns {name} {_describe(values)}, not ({n},) of {kind}"
                )
        if not isinstance(infos, (list, tuple)) or len(infos) != n:
            raise ContractError(
                self._owner, f"step() returns infos {_describe(infos)}, not a list of {n}"
            )
        return observations, rewards, dones, infos

    def read_score(self, info: Any, measure: str = "success") -> float:
        """What is measured of the episode that has just ended.

        Args:
            info: Of its last step.
            measure: "success", "score" or "return".

        Raises:
            ContractError: The info does not tell.
        """
        episode = info.get("episode") if isinstance(info, Mapping) else None
        name = "success" if measure == "success" else "score"
        found = episode.get(name) if isinstance(episode, Mapping) else None
        value = float(found) if isinstance(found, (Real, np.bool_)) else float("nan")
        if name == "success" and value not in (0, 1):
            raise ContractError(
                self._owner,
                "an episode ends with info['episode'] = {'r': return, 'l': length, 'success': "
                f"whether it succeeded at any step, a bool}}, not {episode!r}",
            )
        if not np.isfinite(value) or (measure == "score" and not 0 <= value <= 1):
            within = " in [0, 1]" if measure == "score" else ""
            raise ContractError(
                self._owner,
                "an episode ends with info['episode'] = {'r': return, 'l': length, 'score': a "
                f"number{within}}}, not {episode!r}",
            )
        return value

    def check_actions(self, actions: Any, agent: str) -> None:
        """Check what an agent's `act` returned.

        Args:
            actions: For all environments.
            agent: What to call the agent.

        Raises:
            ContractError: They are no actions.
        """
        assert self._taken is not None
        shape = (self._num_envs, *self._taken)
        if not _is_array(actions, shape) or actions.dtype.kind not in "fiu":
            raise ContractError(
                agent, f"act() returns {_describe(actions)}, not actions {shape} of numbers"
            )

    def _check_observations(self, observations: Any, source: str, running: Any) -> None:
        for name, (shape, dtype) in self._shown.items():
            rows = observations
            if name:
                rows = observations.get(name) if isinstance(observations, Mapping) else None
            expected = (self._num_envs, *shape)
            if not _is_array(rows, expected) or not np.can_cast(rows.dtype, dtype):
                told = f" '{name}'" if name else ""
                raise ContractError(
                    self._owner,
                    f"{source} returns observations{told} {_describe(rows)}, not {expected} of "
                    f"{dtype} as its observation_space says",
                )
            if rows.dtype.kind == "f" and not np.isfinite(rows).all():
                bad = rows if running is None else rows[running]
                if not np.isfinite(bad).all():
                    raise ContractError(
                        self._owner, f"{source} returns observations that are not finite"
                    )


def _require(thing: Any, names: tuple[str, ...], owner: str, kind: str) -> None:
    missing = [name for name in names if not hasattr(thing, name)]
    if missing:
        raise ContractError(
            owner, f"{type(thing).__name__} has no {', '.join(missing)}, as {kind} must have"
        )


def _leaves(space: Any) -> Iterator[tuple[str, tuple[tuple[int, ...], Any]]]:
    """Name, shape and type of each array of an observation; one without a name is all of it."""
    parts = getattr(space, "spaces", None)
    for name, part in parts.items() if isinstance(parts, Mapping) else [("", space)]:
        shape = getattr(part, "shape", None)
        if shape is not None:
            yield name, (tuple(shape), part.dtype)


def _is_array(value: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(value, np.ndarray) and value.shape == shape


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} of {value.dtype}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"
