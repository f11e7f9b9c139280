"""What a run is: everything that decides its numbers, as one flat record."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml
from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from lifelong_rl.errors import UnknownNameError, UserError

MINIMUM = {
    "seed": 0,
    "order": 0,
    "steps_per_task": 1,
    "num_envs": 1,
    "eval_episodes": 1,
    "eval_points": 1,
    "num_threads": 1,
    "threads": 1,
}
OPTIONAL = ("order", "steps_per_task")
"""Fields that may be left out: the sequence then decides."""
SPEED_ONLY = ("num_threads", "diagnostics")
"""Fields that change how fast a run is and what it logs, but none of its results."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of a run.

    Attributes:
        sequence: Tasks to learn, see `lifelong-rl list sequences`; or tasks joined by commas.
        order: Seed that shuffles the order of the tasks; by default it is the sequence's own.
        agent: Learner, see `lifelong-rl list agents`.
        method: Continual method, see `lifelong-rl list methods`; or several joined by "+".
        seed: Decides all that is random, except the evaluation episodes.
        steps_per_task: Environment steps per task, all environments together; by default what the
            sequence needs.
        num_envs: Environments that collect experience together.
        eval_episodes: Episodes per task in each evaluation.
        eval_points: Evaluations of a task while it is learned, evenly spaced.
        num_threads: Threads that step the physics; results do not depend on their number.
        threads: Threads of each torch operation; results may depend on their number.
        diagnostics: Log why it forgets: angles between gradients of tasks, dormant units, effective
            rank, norms.
        agent_options: Options of the agent.
        method_options: Options of the method; those of several are called METHOD.OPTION.
        plugin: Module to import first; it may register agents, methods and sequences.
    """

    sequence: str = "arm3"
    order: int | None = None
    agent: str = "sac"
    method: str = "finetune"
    seed: int = 0
    steps_per_task: int | None = None
    num_envs: int = 16
    eval_episodes: int = 50
    eval_points: int = 10
    num_threads: int = 2
    threads: int = 1
    diagnostics: bool = True
    agent_options: Mapping[str, Any] = field(default_factory=dict)
    method_options: Mapping[str, Any] = field(default_factory=dict)
    plugin: tuple[str, ...] = ()

    def check_numbers(self) -> None:
        """Raise UserError for a number that is too small or not a whole number."""
        for name, minimum in MINIMUM.items():
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            if type(value) is not int or value < minimum:
                raise UserError(
                    f"{name.replace('_', '-')} must be a whole number of at least {minimum}, "
                    f"not {value!r}"
                )

    @property
    def folder_name(self) -> str:
        """What the folder of this run is called: SEQUENCE[-orderM]-AGENT-METHOD-seedN."""
        sequence = self.sequence.replace(",", "+")
        if self.order is not None:
            sequence += f"-order{self.order}"
        return f"{sequence}-{self.agent}-{self.method}-seed{self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, dictionaries and numbers, as written to `config.yaml`."""
        return _plain(dataclasses.asdict(self))  # type: ignore[no-any-return]


def read_config(path: Path) -> dict[str, Any]:
    """The fields that a YAML file sets, with either dashes or underscores in their names.

    Raises:
        UserError: The file cannot be read, or a field is unknown or of the wrong kind.
    """
    return check_fields(read_mapping(path), path)


def read_mapping(path: Path) -> dict[str, Any]:
    """The `name: value` lines of a YAML file, with underscores for the dashes in the names.

    Raises:
        UserError: The file cannot be read, or holds something else.
    """
    try:
        content = yaml.load(path.read_text(), Loader)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    return with_underscores(content, path)


def with_underscores(content: object, path: Path) -> dict[str, Any]:
    """A mapping read from `path`, with underscores for the dashes in its names.

    Raises:
        UserError: It is no mapping, or sets a name twice.
    """
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold options as 'name: value' lines")
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name in found:
            raise UserError(f"{path} sets {name} twice")
        found[name] = value
    return found


def check_fields(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """What `path` sets, as arguments of `RunConfig`.

    Raises:
        UserError: A field is unknown or of the wrong kind.
    """
    fields = {entry.name for entry in dataclasses.fields(RunConfig)}
    found = dict(content)
    for name in found:
        if name not in fields:
            raise UnknownNameError("option", name, fields, see=str(path))
    for name in ("agent_options", "method_options"):
        if not isinstance(found.get(name, {}), dict):
            raise UserError(f"{path}: {name} must be 'name: value' lines, not {found[name]!r}")
    for name in ("sequence", "agent", "method"):
        if not isinstance(found.get(name, ""), str):
            raise UserError(f"{path}: {name} must be a name, not {found[name]!r}")
    if "plugin" in found:
        modules = found["plugin"]
        modules = [modules] if isinstance(modules, str) else modules
        if not (isinstance(modules, list) and all(isinstance(m, str) for m in modules)):
            raise UserError(f"{path}: plugin must be a list of module names, not {modules!r}")
        found["plugin"] = tuple(modules)
    return found


def resolve_options(
    kind: str, name: str, factory: Callable[..., Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The options of an agent or method: its defaults, with `given` on top.

    An option is a keyword-only parameter, or for a class one of its constructor's parameters.
    Defaults that a configuration file cannot hold are left to the factory.

    Raises:
        UnknownNameError: `given` holds an option that the factory does not have.
        UserError: A value is not of the kind that the factory's annotation tells.
    """
    known = {
        parameter.name: parameter.default
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
        or (isinstance(factory, type) and parameter.kind is parameter.POSITIONAL_OR_KEYWORD)
    }
    for option in ("num_tasks", "method", "seed") if kind == "agent" else ():
        known.pop(option, None)
    for option in given:
        if option not in known:
            raise UnknownNameError(f"{name} option", option, known, see="")
    _check_kinds(kind, name, factory, given)
    defaults = {option: _plain(value) for option, value in known.items() if _is_plain(value)}
    return {**defaults, **given}


def _check_kinds(
    kind: str, name: str, factory: Callable[..., Any], given: Mapping[str, Any]
) -> None:
    try:
        constructor = inspect.getattr_static(factory, "__init__", None)
        hints = get_type_hints(constructor if isinstance(factory, type) else factory)
    except NameError:  # an annotation that only a type checker can resolve
        return
    for option, value in given.items():
        hint = hints.get(option, Any)
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise UnknownNameError(option, str(value), map(str, get_args(hint)), see="")
        if not (_is_of_kind(value, hint) or (type(value) is list and _is_of_kind((*value,), hint))):
            wanted = hint.__name__ if type(hint) is type else str(hint).replace("typing.", "")
            raise UserError(
                f"the option '{option}' of {kind} '{name}' must be {wanted}, not {value!r}"
            )


def _is_of_kind(value: object, hint: Any) -> bool:
    if isinstance(value, bool) and hint in (int, float):
        return False
    try:
        check_type(value, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError:
        return False
    return True


def parse_value(text: str) -> Any:
    """A value from the command line, read as YAML: `1e-3`, `true`, `[64, 64]`, `both`.

    Raises:
        UserError: It is not YAML.
    """
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise UserError(f"cannot read the value '{text}'") from error


def dump_yaml(value: object) -> str:
    """YAML that `parse_value` and `read_config` read back."""
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=False)
    return text


class Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number; PyYAML reads it as text, because it has no dot."""


class Dumper(yaml.SafeDumper):
    """Writes what `Loader` reads."""


for _class in (Loader, Dumper):
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(entry) for entry in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(entry) for key, entry in value.items())
    return value is None or type(value) in (bool, int, float, str)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return value
