"""The grid of a block of a study: options with several values, of which each combination is run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from lifelong_rl.continual import METHODS
from lifelong_rl.continual.chain import split_options
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import OptionError, check_options, options_of, plain
from lifelong_rl.registry import AGENTS
from lifelong_rl.runs.config import RunConfig, with_underscores

KINDS = {"agent_options": "agent", "method_options": "method"}
"""Options of a grid, and the field whose value they are given for."""
LONGEST = 200
"""Letters in the name of a folder; file systems allow 255 bytes, and files in it have names too."""


@dataclass(frozen=True)
class Point:
    """One combination of the values of a grid.

    Attributes:
        fields: Fields of the run.
        agent_options: Options of its agent.
        method_options: Options of its method.
        name: What tells it from the others, such as "strength=100-lr=0.001".
    """

    fields: dict[str, Any] = field(default_factory=dict)
    agent_options: dict[str, Any] = field(default_factory=dict)
    method_options: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    @property
    def suffix(self) -> str:
        """What is added to the name of its folder; nothing where nothing varies."""
        return f"-{self.name}" if self.name else ""

    def over(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of `RunConfig` with those of this point on top."""
        options = {name: {**given.get(name, {}), **getattr(self, name)} for name in KINDS}
        return {**given, **self.fields, **options}


@dataclass(frozen=True)
class _Axis:
    """An option with its values.

    Attributes:
        kind: One of `KINDS`, or "fields".
        owner: The agent or method; empty for a field of the run.
        option: Its name.
        values: At least one.
    """

    kind: str
    owner: str
    option: str
    values: tuple[Any, ...]


def read_grid(content: object, fields: Sequence[str], path: Path) -> dict[str, Any]:
    """A grid of a file, once it names what can vary.

    Args:
        content: As in the file.
        fields: Fields of a run that may be in it.
        path: The file.

    Raises:
        UserError: It is something else.
    """
    if not isinstance(content, dict):
        raise UserError(f"{path}: grid must be 'name: values' lines, not {content!r}")
    grid = with_underscores(content, path)
    for name, given in grid.items():
        if name not in (*fields, *KINDS):
            raise UnknownNameError("option of a grid", str(name), (*fields, *KINDS), see=str(path))
        if name in KINDS and not (
            isinstance(given, dict) and all(isinstance(own, dict) for own in given.values())
        ):
            raise UserError(
                f"{path}: {name} of a grid must be given by {KINDS[name]}, not {given!r}"
            )
    return grid


def grid_points(grid: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Point]:
    """Each combination of the values that a grid has for the agent and the method of a run.

    Args:
        grid: See `read_grid`. By name a list of values, or one. A list that an option allows as
            its value is one: `hidden: [256, 256]`.
        given: What the block sets beside the grid, as arguments of `RunConfig`.

    Raises:
        UserError: There is no such option, it has no values, or the block sets it too.
    """
    axes = []
    for kind, values in grid.items():
        if kind not in KINDS:
            axes.append(_Axis("fields", "", kind, _list_values(RunConfig, kind, values, "")))
            continue
        owner = given[KINDS[kind]]
        for option, listed in values.get(owner, {}).items():
            if option in given.get(kind, {}):
                raise UserError(f"{option} of {owner} is in {kind} and in the grid")
            factory, name, whose = find_factory(kind, owner, str(option))
            found = _list_values(factory, name, listed, whose)
            axes.append(_Axis(kind, owner, str(option), found))
    for axis in axes:
        if axis.kind == "fields" and axis.option in given:
            raise UserError(f"{axis.option} is set beside the grid and in it")
    yield from (_make_point(axes, values) for values in product(*(axis.values for axis in axes)))


def find_factory(kind: str, owner: str, option: str) -> tuple[Any, str, str]:
    """What declares an option, how it calls it, and what to call that in an error.

    Args:
        kind: One of `KINDS`.
        owner: The agent or method; several methods may be joined by "+".
        option: As a run's configuration calls it.

    Raises:
        UnknownNameError: There is no such agent or method, or it is no option of theirs.
    """
    if kind == "agent_options":
        return AGENTS.get(owner), option, f"agent '{owner}'"
    for part, options in split_options(owner, {option: None}).items():
        if options:
            return METHODS.get(part), next(iter(options)), f"method '{part}'"
    raise AssertionError("an option belongs to one of the methods")


def check_value(factory: Any, option: str, value: object, owner: str) -> Any:
    """A value of an option in plain form.

    Raises:
        UserError: There is no such option, or it does not allow the value.
    """
    return plain(check_options(factory, {option: value}, owner)[option])


def _list_values(factory: Any, option: str, given: object, owner: str) -> tuple[Any, ...]:
    """The values of an option, in plain form where they are allowed."""
    declared = options_of(factory).get(option)
    convert = partial(check_value, factory, option, owner=owner)
    if not isinstance(given, list):
        return (convert(given),)
    if not given:
        raise UserError(f"{option} of the grid has no values; list at least one")
    if declared is None or declared.annotation is not Any:
        try:
            return (convert(given),)
        except OptionError:
            pass  # then each entry is to be one
    return tuple(map(convert, given))


def _make_point(axes: Sequence[_Axis], values: Sequence[Any]) -> Point:
    point = Point()
    options = [axis.option for axis in axes]
    told = []
    for axis, value in zip(axes, values, strict=True):
        getattr(point, axis.kind)[axis.option] = value
        named = f"{axis.owner}." if options.count(axis.option) > 1 and axis.owner else ""
        told.append(f"{named}{axis.option}={format_value(value)}")
    name = "-".join(told)
    return Point(point.fields, point.agent_options, point.method_options, name)


def fit_name(start: str, suffix: str) -> str:
    """The name of a folder; where it would be too long, a digest takes the place of the suffix."""
    if len(start) + len(suffix) <= LONGEST:
        return start + suffix
    return f"{start}-{hashlib.sha256(suffix.encode()).hexdigest()[:12]}"


def format_value(value: Any) -> str:
    """A value as a part of a folder's name: "0.001", "256x256", "true"."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        numbers = all(isinstance(entry, (int, float)) for entry in value)
        return ("x" if numbers else "+").join(map(format_value, value))
    if isinstance(value, str) and re.fullmatch(r"[\w.+]+(-[\w.+]+)*", value):
        return value
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]
