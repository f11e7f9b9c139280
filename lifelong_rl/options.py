"""Options: one declaration each, which parsing, checks, help, files and manuals are made of.

A class declares its options in a nested dataclass `Options`; `lifelong_rl/continual/ewc.py` shows
how that looks.

The rules, which let a manual read the source without importing it:

- The dataclass is called `Options`, stands in the body of the class, is decorated with
  `@dataclass(frozen=True, kw_only=True)` and inherits from the `Options` of a base class, in the
  end from `DeclaredOptions`. A class without one has those of its nearest base.
- An annotation is written with names of this module, of `typing` (`Literal`, `Annotated`), of
  `annotated_types` (`Ge`, `Gt`, `Le`, `Lt`, `Interval`, `Len`, `MultipleOf`) and of builtins only.
- A default is a literal. Only the options of a class that is a base and nothing else may lack one.
- `name: annotation = field(default=literal, init=False)` fixes an option of the base, which is none
  any more.
- The docstring's `Attributes:` has an entry for each option. It may be left out where that of the
  base holds, and stand alone where only that of the base does not.
- The order of options is that of the class, then that of its base, and so on.

A class without `Options`, of a plug-in, has its constructor's or its `build`'s keyword parameters
for options, with the same checks.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import (
    Ge,
    GroupedMetadata,
    Gt,
    Interval,
    Le,
    Len,
    Lt,
    MaxLen,
    MinLen,
    MultipleOf,
)

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.text import is_one_line, shorten


@dataclass(frozen=True)
class Matches:
    """Marks text that must match a pattern as a whole.

    Attributes:
        pattern: A regular expression.
        spoken: What it allows, in words.
        nearest: What other text may be like, and what was meant by that.
    """

    pattern: str
    spoken: str
    nearest: tuple[tuple[str, str], ...] = ()


Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
PositiveShare = Annotated[float, Interval(gt=0, le=1)]
ShareBelowOne = Annotated[float, Interval(ge=0, lt=1)]
OpenShare = Annotated[float, Interval(gt=0, lt=1)]
Count = Annotated[int, Ge(1)]
"""A whole number of at least 1."""
Whole = Annotated[int, Ge(0)]
"""A whole number of at least 0."""
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
"""What every generator takes as a seed: NumPy's old one, the least capable, has 32 bits."""
Threads = Annotated[int, Interval(ge=1, le=1024)]
"""Threads of one pool; the libraries crash, without a word, where the system refuses a thread."""
Together = Annotated[int, Interval(ge=1, le=1_000_000)]
"""A number of simulations that are there at the same time."""
Device = Annotated[
    str,
    Matches(
        r"auto|cpu|cuda(:\d{1,3})?|mps",
        "auto, cpu, cuda, cuda:N or mps",
        (("auto", "auto"), ("cpu", "cpu"), ("cuda", "cuda"), ("mps", "mps"), ("gpu", "cuda")),
    ),
]
"""What tensors are computed on; see `lifelong_rl.learning.devices.open_device`."""
LabelAmount = OpenShare | Count
"""How many rows are labelled: a share of all, or a whole number of each class."""
Layers = Annotated[tuple[Count, ...], Len(1)]
"""The units of each hidden layer."""
Activation = Literal["relu", "tanh", "crelu"]
"""What follows the hidden layers of an agent's networks; see `lifelong_rl.networks.activations`."""
Scope = Literal["policy", "value", "both"]
"""Which networks a continual method acts on: those that the agent is evaluated by ("policy"), those
that only help learning ("value"), or both."""

O = TypeVar("O", bound="DeclaredOptions")  # noqa: E741 (of options)
REQUIRED = MISSING
"""The default of an option that has none."""
GIVEN_TO_BUILD = ("env", "num_tasks", "method", "seed", "device", "eyes")
"""Parameters of an agent's `build` that are no options."""


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: As it is written in a file and in Python.
        annotation: What its values may be.
        default: Its value if none is given, or `REQUIRED`.
        doc: What it does, in one line.
    """

    name: str
    annotation: Any
    default: Any = REQUIRED
    doc: str = ""

    @property
    def allowed(self) -> str:
        """What its values may be, in words: "a number of at least 0"."""
        return describe(self.annotation)


class OptionError(UserError, ValueError):
    """A value that an option does not allow.

    Args:
        option: Name of the option.
        owner: Whose option it is, such as "method 'ewc'"; empty for one of the command itself.
        allowed: What is allowed, in words.
        value: The value that was given.
        names: The allowed names, if the values are names, and what each means; the message gives
            the nearest one.
        reason: Why the value is not allowed, where what is allowed does not tell.
    """

    def __init__(
        self,
        option: str,
        owner: str,
        allowed: str,
        value: object,
        names: Mapping[str, str] | None = None,
        reason: str = "",
    ) -> None:
        if owner:
            named = f"the option '{option}' of {owner}"
        else:  # what need not be given on a command line cannot be given as null
            named, allowed = option.replace("_", "-"), allowed.removesuffix(" or null")
        hint = ""
        if names and (nearest := difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)):
            hint = f"; did you mean '{names[nearest[0]]}'?"
        because = f" ({reason})" if reason else ""
        super().__init__(f"{named} must be {allowed}, not {shorten(value)}{because}{hint}")


@dataclass(frozen=True, kw_only=True)
class DeclaredOptions:
    """Base of all `Options`: values are checked and made plain when one is built.

    Raises:
        OptionError: A value is not allowed.
    """

    def __post_init__(self) -> None:
        """Check every value and keep it in its plain form."""
        declared = options_of(type(self))
        values = {name: getattr(self, name) for name in declared}
        for name, value in _checked(declared, values, self.owner()).items():
            object.__setattr__(self, name, value)

    @classmethod
    def owner(cls) -> str:
        """The name of the class whose options these are."""
        return cls.__qualname__.removesuffix(".Options").rpartition(".")[2]

    @classmethod
    def of(cls: type[O], options: O | None, given: Mapping[str, Any]) -> O:
        """`options`, or the defaults, with the values `given` on top.

        Raises:
            UnknownNameError: No such option.
            OptionError: A value is not allowed.
        """
        check_options(cls, given, cls.owner())
        return cls(**given) if options is None else dataclasses.replace(options, **given)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, text and lists by name, as a configuration file holds them."""
        return {name: plain(getattr(self, name)) for name in options_of(type(self))}


def options_of(factory: Any) -> dict[str, Option]:
    """The options of an agent, method or objective by name.

    Args:
        factory: A class with `Options`, an `Options` itself, another dataclass, or a class whose
            constructor or `build` has keyword parameters.
    """
    if dataclasses.is_dataclass(factory) and isinstance(factory, type):
        return _options_of_dataclass(factory)
    if not isinstance(factory, type):  # an object that builds agents
        return _parameters(factory.build, factory, GIVEN_TO_BUILD)[0]
    found: dict[str, Option] = {}
    called = "build" if hasattr(factory, "build") else "__init__"
    for owner in factory.__mro__:
        declared = vars(owner).get("Options")
        if declared is not None:
            return found | {
                n: o for n, o in _options_of_dataclass(declared).items() if n not in found
            }
        function = vars(owner).get(called)
        if function is None or owner is object:
            continue
        own, passes_on = _parameters(
            getattr(function, "__func__", function),
            owner,
            GIVEN_TO_BUILD if called == "build" else ("self", "options"),
        )
        found |= {name: option for name, option in own.items() if name not in found}
        if not passes_on:
            break
    return found


def check_options(factory: Any, given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The values given, in plain form: 1 is 1.0 where a number is meant, NumPy's are Python's.

    Args:
        factory: See `options_of`.
        given: Values by option; others may be left out.
        owner: Whose options they are, for the message: "method 'ewc'"; empty for a command's own.

    Raises:
        UnknownNameError: There is no such option.
        OptionError: A value is not allowed.
    """
    return _checked(options_of(factory), given, owner)


def resolve_options(factory: Any, given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """All options as a configuration file holds them: the defaults with `given` on top.

    Defaults that a file cannot hold are left to the factory.

    Raises:
        UnknownNameError: See `check_options`.
        OptionError: A value is not allowed.
    """
    declared = options_of(factory)
    defaults = {
        name: plain(option.default)
        for name, option in declared.items()
        if _is_plain(option.default)
    }
    return defaults | {name: plain(v) for name, v in _checked(declared, given, owner).items()}


def describe(annotation: Any) -> str:
    """What an annotation allows, in words: "a number in (0, 1]", "'policy' or 'value'"."""
    base, limits = _parts(annotation)
    origin = get_origin(base)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(describe, get_args(base))))
    if origin is Literal:
        *others, last = map(repr, get_args(base))
        return f"{', '.join(others)} or {last}" if others else last
    for limit in limits:
        if isinstance(limit, Matches):
            return limit.spoken
    if base in _WORDS:
        return "".join([_WORDS[base], *_describe_range(limits)])
    if origin in _SEQUENCES or base in _SEQUENCES:
        return _describe_sequence(get_args(base), limits)
    if base is dict or origin in (dict, Mapping):
        return "'name: value' lines"
    return base.__name__ if isinstance(base, type) and not get_args(base) else _spelled(base)


def plain(value: Any) -> Any:
    """A value as a configuration file holds it: lists for tuples."""
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return value


def read_entries(docstring: str | None, section: str) -> dict[str, str]:
    """The `name: text` entries of a section of a Google docstring, each in one line.

    Args:
        docstring: May be None.
        section: Its title, such as "Attributes".
    """
    lines = inspect.cleandoc(docstring or "").splitlines()
    if f"{section}:" not in lines:
        return {}
    found: dict[str, str] = {}
    name = ""
    for line in lines[lines.index(f"{section}:") + 1 :]:
        if line and not line.startswith(" "):
            break
        entry = re.match(r" {4}\*{0,2}(\w+)(?: \([^)]*\))?: *(.*)", line)
        if entry:
            name = entry[1]
            found[name] = entry[2].strip()
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found


@cache
def _options_of_dataclass(declared: type) -> dict[str, Option]:
    fields = {field.name: field for field in dataclasses.fields(declared) if field.init}
    hints = _hints(declared)
    docs: dict[str, str] = {}
    order: dict[str, None] = {}
    for owner in declared.__mro__:
        docs = read_entries(vars(owner).get("__doc__"), "Attributes") | docs
        order |= dict.fromkeys(n for n in inspect.get_annotations(owner) if n in fields)
    return {
        name: Option(name, hints.get(name, Any), _default(fields[name]), docs.get(name, ""))
        for name in order
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _parameters(
    function: Callable[..., Any], owner: Any, left_out: Sequence[str]
) -> tuple[dict[str, Option], bool]:
    """The options that a function's parameters are, and whether it passes others on."""
    parameters = inspect.signature(function).parameters.values()
    hints = _hints(function)
    docs = read_entries(inspect.getdoc(owner), "Args")
    docs |= read_entries(inspect.getdoc(function), "Args")
    found = {}
    for parameter in parameters:
        has_default = parameter.default is not parameter.empty
        if parameter.name in left_out or not (
            parameter.kind is parameter.KEYWORD_ONLY
            or (parameter.kind is parameter.POSITIONAL_OR_KEYWORD and has_default)
        ):
            continue
        found[parameter.name] = Option(
            parameter.name,
            hints.get(parameter.name, Any),
            parameter.default if has_default else REQUIRED,
            docs.get(parameter.name, ""),
        )
    return found, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _hints(thing: Any) -> dict[str, Any]:
    try:
        return get_type_hints(thing, include_extras=True)
    except NameError:  # an annotation that only a type checker can resolve
        return {}


def _checked(
    declared: Mapping[str, Option], given: Mapping[str, Any], owner: str
) -> dict[str, Any]:
    kind = re.sub(r"^\S+ '(.*)'$", r"\1", owner)
    found = {}
    for name, value in given.items():
        if name not in declared:
            raise UnknownNameError(f"{kind} option".lstrip(), name, declared, see="")
        option = declared[name]
        try:
            found[name] = _convert(value, option.annotation)
        except _Unfit as unfit:
            names = _names(option.annotation)
            raise OptionError(name, owner, option.allowed, value, names, str(unfit)) from None
    return found


class _Unfit(Exception):
    """A value that an annotation does not allow; its text tells why, where that does not."""


def _convert(value: Any, annotation: Any) -> Any:
    """The plain form of a value.

    Raises:
        _Unfit: The annotation does not allow it.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # a scalar of NumPy or torch
    base, limits = _parts(annotation)
    origin = get_origin(base)
    if origin in (Union, UnionType):
        return _convert_to_one(value, get_args(base))
    if origin is Literal:
        if not any(type(value) is type(one) and value == one for one in get_args(base)):
            raise _Unfit
        return value
    if base in _CONVERTERS:
        value = _CONVERTERS[base](value)
    elif origin in _SEQUENCES or base in _SEQUENCES:
        value = _convert_sequence(value, origin or base, get_args(base))
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        key, entry = get_args(base)
        value = {_convert(k, key): _convert(v, entry) for k, v in value.items()}
    elif not _is_of_kind(value, base):
        raise _Unfit
    if not all(_is_within(value, limit) for limit in limits):
        raise _Unfit
    return value


def _convert_to_one(value: Any, members: Sequence[Any]) -> Any:
    """The plain form for the first of several annotations that fits, one of its own type first."""
    reasons = []
    for member in sorted(members, key=lambda member: _parts(member)[0] is not type(value)):
        try:
            return _convert(value, member)
        except _Unfit as unfit:
            reasons.append(str(unfit))
    raise _Unfit(max(reasons, key=bool))


def _convert_sequence(value: Any, kind: Any, entries: Sequence[Any]) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise _Unfit
    if not entries:
        annotations: Sequence[Any] = [Any] * len(value)
    elif kind is not tuple or Ellipsis in entries:
        annotations = [entries[0]] * len(value)
    else:
        annotations = entries
    if len(annotations) != len(value):
        raise _Unfit
    made = [_convert(one, annotation) for one, annotation in zip(value, annotations, strict=True)]
    return tuple(made) if kind is tuple or (kind is not list and type(value) is tuple) else made


def _to_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise _Unfit
    return value


def _to_int(value: Any) -> int:
    if type(value) is not int:
        raise _Unfit
    if not -(2**63) <= value < 2**63:
        raise _Unfit("it does not fit into 64 bits")
    return value


def _to_float(value: Any) -> float:
    if type(value) not in (int, float):
        raise _Unfit
    try:
        number = float(value)
    except OverflowError:
        raise _Unfit from None
    if not math.isfinite(number):
        raise _Unfit
    return number


def _to_str(value: Any) -> str:
    if not isinstance(value, str):
        raise _Unfit
    if not is_one_line(value):
        raise _Unfit("there is a control character in it")
    return str(value)


def _to_path(value: Any) -> Path:
    if not isinstance(value, (str, Path)):
        raise _Unfit
    if "\0" in str(value):
        raise _Unfit("no path has a NUL in it")
    try:
        return Path(value).expanduser()  # shells leave the ~ of --run-dir=~/run as it is
    except RuntimeError:
        raise _Unfit("there is no such home folder") from None


def _to_none(value: Any) -> None:
    if value is not None:
        raise _Unfit


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: _to_str,
    Path: _to_path,
    NoneType: _to_none,
}
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    NoneType: "null",
}
_PLURALS: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts", Path: "paths"}
_SEQUENCES = (tuple, list, Sequence)


def _is_of_kind(value: Any, annotation: Any) -> bool:
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    try:
        check_type(value, annotation, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError:
        return False
    return True


def _parts(annotation: Any) -> tuple[Any, list[Any]]:
    """What an annotation is of, and its limits one by one."""
    if get_origin(annotation) is not Annotated:
        return annotation, []
    base, *extras = get_args(annotation)
    limits: list[Any] = []
    for extra in extras:
        limits += extra if isinstance(extra, GroupedMetadata) else [extra]
    return base, limits


def _is_within(value: Any, limit: Any) -> bool:
    match limit:
        case Ge(ge=least):
            return bool(value >= least)
        case Gt(gt=bound):
            return bool(value > bound)
        case Le(le=most):
            return bool(value <= most)
        case Lt(lt=bound):
            return bool(value < bound)
        case MultipleOf(multiple_of=unit):
            return bool(value % unit == 0)
        case MinLen(min_length=least):
            return len(value) >= least
        case MaxLen(max_length=most):
            return len(value) <= most
        case Matches(pattern=pattern):
            return re.fullmatch(pattern, value) is not None
    return True  # metadata of other libraries


def _describe_range(limits: Sequence[Any]) -> list[str]:
    low = [limit for limit in limits if isinstance(limit, (Ge, Gt))]
    high = [limit for limit in limits if isinstance(limit, (Le, Lt))]
    words = []
    if low and high:
        left = f"[{low[0].ge}" if isinstance(low[0], Ge) else f"({low[0].gt}"
        right = f"{high[0].le}]" if isinstance(high[0], Le) else f"{high[0].lt})"
        words.append(f" in {left}, {right}")
    elif low:
        words.append(
            f" of at least {low[0].ge}" if isinstance(low[0], Ge) else f" above {low[0].gt}"
        )
    elif high:
        words.append(
            f" of at most {high[0].le}" if isinstance(high[0], Le) else f" below {high[0].lt}"
        )
    words += [f" divisible by {one.multiple_of}" for one in limits if isinstance(one, MultipleOf)]
    return words


def _describe_sequence(entries: Sequence[Any], limits: Sequence[Any]) -> str:
    least = max((limit.min_length for limit in limits if isinstance(limit, MinLen)), default=0)
    many = "a list" if least == 0 else f"a list of {'one' if least == 1 else least} or more"
    if not entries:
        return many if least == 0 else f"{many} entries"
    base, within = _parts(entries[0])
    named = "".join([_PLURALS.get(base, "entries"), *_describe_range(within)])
    return f"{many} {named}" if least else f"{many} of {named}"


def _names(annotation: Any) -> dict[str, str]:
    """The names that values are chosen from, if that is what an annotation tells."""
    base, limits = _parts(annotation)
    if get_origin(base) in (Union, UnionType):
        members = [_names(member) for member in get_args(base)]
        return {name: meant for member in members for name, meant in member.items()}
    if get_origin(base) is Literal:
        return {one: one for one in get_args(base) if isinstance(one, str)}
    return {k: v for limit in limits if isinstance(limit, Matches) for k, v in limit.nearest}


def _spelled(annotation: Any) -> str:
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(entry) for entry in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(entry) for key, entry in value.items())
    return value is None or type(value) in (bool, int, float, str)
