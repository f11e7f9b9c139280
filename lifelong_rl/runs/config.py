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
    "frame_stack": 1,
    "shift": 0,
}
OPTIONAL = ("order", "steps_per_task")
"""Fields that may be left out: the sequence then decides."""
SPEED_ONLY = ("num_threads", "diagnostics")
"""Fields that change how fast a run is and what it logs, but none of its results."""
OBSERVATIONS = ("state", "pixels")
"""What an agent can observe."""
ONLY_WITH_PIXELS = ("cameras", "frame_stack", "proprioception", "encoder", "finetune", "shift")
"""Fields of no meaning where the state is observed."""


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
        observation: What the agent observes: state, or pixels, which are pictures beside what the
            robot feels of itself.
        cameras: Cameras that take the pictures, such as front and across.
        frame_stack: Pictures of each camera in an observation, the latest one and those before it.
        proprioception: Let the agent feel the robot's own position, opening and velocity beside the
            pictures.
        encoder: What encodes the pictures, a file or folder of `lifelong-rl pretrain`: one for all
            cameras, or one for each in their order. It stays as it is, unless --finetune is given;
            without any, an encoder for each camera is learned from scratch.
        finetune: Let each network of the agent learn on from the encoder.
        shift: Largest random shift of the pictures that an encoder is learned from, in pixels.
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
    observation: str = "state"
    cameras: tuple[str, ...] = ("front",)
    frame_stack: int = 1
    proprioception: bool = True
    encoder: tuple[str, ...] = ()
    finetune: bool = False
    shift: int = 4
    agent_options: Mapping[str, Any] = field(default_factory=dict)
    method_options: Mapping[str, Any] = field(default_factory=dict)
    plugin: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise UserError for values that are out of range or contradict each other."""
        self._check_numbers()
        self._check_observation()

    def _check_numbers(self) -> None:
        for name, minimum in MINIMUM.items():
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            if type(value) is not int or value < minimum:
                raise UserError(
                    f"{name.replace('_', '-')} must be a whole number of at least {minimum}, "
                    f"not {value!r}"
                )

    def _check_observation(self) -> None:
        if self.observation not in OBSERVATIONS:
            raise UnknownNameError("observation", self.observation, OBSERVATIONS, see="")
        given = [
            name for name in ONLY_WITH_PIXELS if getattr(self, name) != getattr(RunConfig, name)
        ]
        if given and not self.observes_pixels:
            raise UserError(f"{_spoken(given)} goes with --observation pixels only")
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise UserError(f"cameras are {list(self.cameras)}; name at least one, and none twice")
        if self.finetune and not self.encoder:
            raise UserError("finetune goes with --encoder only: without it one is learned anyway")
        if self.encoder and not self.finetune and "shift" in given:
            raise UserError(
                "shift is of the pictures that an encoder is learned from, and this one stays as "
                "it is; add --finetune, or leave out --shift"
            )

    @property
    def observes_pixels(self) -> bool:
        """Whether the agent observes pictures."""
        return self.observation == "pixels"

    @property
    def folder_name(self) -> str:
        """What the folder of this run is called: SEQUENCE[-orderM]-AGENT[-pixels]-METHOD-seedN."""
        sequence = self.sequence.replace(",", "+")
        if self.order is not None:
            sequence += f"-order{self.order}"
        agent = f"{self.agent}-pixels" if self.observes_pixels else self.agent
        return f"{sequence}-{agent}-{self.method}-seed{self.seed}"

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
        content = yaml.load(path.read_text(encoding="utf-8"), Loader)
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
    for name in ("sequence", "agent", "method", "observation"):
        if not isinstance(found.get(name, ""), str):
            raise UserError(f"{path}: {name} must be a name, not {found[name]!r}")
    for name in ("proprioception", "finetune"):
        if not isinstance(found.get(name, True), bool):
            raise UserError(f"{path}: {name} must be true or false, not {found[name]!r}")
    lists = (("plugin", "module names"), ("cameras", "names"), ("encoder", "paths"))
    for name, entries in lists:
        if name in found:
            values = found[name]
            values = [values] if isinstance(values, str) else values
            if not (isinstance(values, list) and all(isinstance(v, str) for v in values)):
                raise UserError(f"{path}: {name} must be a list of {entries}, not {values!r}")
            found[name] = tuple(values)
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
    for option in ("num_tasks", "method", "seed", "eyes") if kind == "agent" else ():
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


def _spoken(names: list[str]) -> str:
    """Field names as they are written on a command line."""
    return ", ".join(name.replace("_", "-") for name in names)


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
