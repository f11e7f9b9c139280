"""Reading command lines: dataclasses parsed by tyro, errors of one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_origin, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import Device, check_options
from lifelong_rl.runs.config import parse_value


@dataclass(frozen=True, kw_only=True)
class Command:
    """Base of all commands: the first line of its docstring is what `--help` lists.

    Attributes:
        debug: Show the traceback of an error.
    """

    debug: bool = False

    WITH_OPPOSITES: ClassVar[bool] = False
    """Whether each flag has an opposite, for a command whose flags a file may set too."""

    @classmethod
    def parse(cls, name: str, arguments: Sequence[str], default: Self | None = None) -> Self:
        """Parse the arguments of the command.

        Args:
            name: What it is called, for messages and help.
            arguments: What follows the name.
            default: Values of what the arguments do not set, in place of the dataclass's own.

        Raises:
            UserError: An option is unknown, missing or of the wrong kind.
            SystemExit: Help was asked for and printed.
        """
        for word in arguments:
            if word.startswith("--tyro-"):  # it would complete a program called as the command
                raise UserError("for completion see: lifelong-rl completion --help")
        for option in ("--agent-options", "--method-options", "--slurm"):
            if sum(word.partition("=")[0] == option for word in arguments) > 1:
                raise UserError(f"lifelong-rl {name}: give {option} once, with all its values")
        for before, word in zip([f"lifelong-rl {name}", *arguments], arguments, strict=False):
            if not word or re.fullmatch(r"--[\w-]+=", word):
                raise UserError(
                    f"{(word or before).rstrip('=')} is given an empty text; leave it out, or set "
                    "the variable that was meant"
                )
        box = io.StringIO()
        shown = _with_plain_defaults(cls)
        start: Any = tyro.MISSING_NONPROP
        if default is not None:
            start = shown(**{entry.name: getattr(default, entry.name) for entry in fields(cls)})
        parsed: Self
        try:
            with contextlib.redirect_stderr(box):
                parsed, unknown = tyro.cli(
                    shown,
                    prog=f"lifelong-rl {name}",
                    args=list(arguments),
                    default=start,
                    return_unknown_args=True,
                    config=() if cls.WITH_OPPOSITES else (tyro.conf.FlagCreatePairsOff,),
                )
        except SystemExit as stop:
            if stop.code in (0, None):
                raise
            raise UserError(f"lifelong-rl {name}: {_first_sentence(box.getvalue())}") from None
        if unknown:
            raise _unknown_argument(cls, name, unknown[0])
        given = {entry.name: getattr(parsed, entry.name) for entry in fields(cls)}
        return cls(**check_options(cls, given, ""))

    def __call__(self) -> int:
        """Do it, and return the exit code."""
        raise NotImplementedError


def _with_plain_defaults(command: type[Any]) -> type[Any]:
    """The same command, whose help tells defaults only where they say something.

    tyro prints "(default: None)" or "(default: )" after texts that say what happens by default, and
    "(default: False)" after those of flags.
    """
    hints = get_type_hints(command, include_extras=True)
    body: dict[str, Any] = {"__doc__": command.__doc__, "__annotations__": {}}
    for entry in fields(command):
        hint = hints[entry.name]
        if tyro.conf.UseAppendAction not in getattr(hint, "__metadata__", ()):  # "(repeatable)"
            hint = Annotated[hint, tyro.conf.arg(help_behavior_hint=_tell_default)]
        body["__annotations__"][entry.name] = hint
        if entry.default is not MISSING or entry.default_factory is not MISSING:
            body[entry.name] = entry
    return dataclass(frozen=True, kw_only=True)(type(command.__name__, (command,), body))


def _tell_default(value: str) -> str:
    if value in ("", "None", "False"):
        return ""
    return f"(default: {'on' if value == 'True' else value})"


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """Options given as `key=value`, the value read as YAML.

    Raises:
        UserError: A word has no "=", or its value is not YAML.
    """
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise UserError(f"options are given as key=value, not '{word}'")
        options[key.replace("-", "_")] = parse_value(value)
    return options


Options = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="KEY=VALUE ...",
        instance_from_str=parse_options,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda options: [f"{k}={v}" for k, v in options.items()],
    ),
]
"""A field for options of an agent or a method."""

Number = tyro.conf.arg(metavar="INT")
"""Marks a field for a whole number that need not be given."""

Choice = PrimitiveConstructorSpec(
    nargs=1,
    metavar="NAME",
    instance_from_str=lambda words: words[0],
    is_instance=lambda value: value is None or isinstance(value, str),
    str_from_instance=lambda value: [str(value)],
)
"""Marks a field for one of some names; the error about a wrong one gives the nearest right one."""

Amount = PrimitiveConstructorSpec(
    nargs=1,
    metavar="SHARE|INT",
    instance_from_str=lambda words: parse_value(words[0]),
    is_instance=lambda value: value is None or isinstance(value, (int, float)),
    str_from_instance=lambda value: [str(value)],
)
"""Marks a field for a share or a whole number, which are told apart by how they are written."""

OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
"""A field for a name that need not be given."""

OptionalDevice = Annotated[Device | None, tyro.conf.arg(metavar="DEVICE")]
"""A field for a device that need not be given."""

OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH")]
"""A field for a path that need not be given."""

Repeated = tyro.conf.UseAppendAction[tuple[str, ...]]
"""A field for an option that may be given several times."""

RepeatedPath = tyro.conf.UseAppendAction[tuple[Path, ...]]
"""A field for a path that may be given several times."""


def find_options(command: type[Command]) -> dict[str, bool]:
    """The options of a command but `--help`, and whether each takes a value."""
    found = {}
    for name, hint in get_type_hints(command, include_extras=True).items():
        told = getattr(hint, "__metadata__", ())
        if get_origin(hint) is ClassVar or tyro.conf.Positional in told:
            continue
        given = next((mark.name for mark in told if getattr(mark, "name", None)), name)
        option = given.replace("_", "-")
        found[f"--{option}"] = hint is not bool
        if hint is bool and command.WITH_OPPOSITES:
            found[f"--no-{option}"] = False
    return found


def _unknown_argument(command: type[Command], name: str, word: str) -> UserError:
    if not word.startswith("-"):
        return UserError(
            f"lifelong-rl {name}: unexpected '{word}' (see: lifelong-rl {name} --help)"
        )
    known = find_options(command)
    return UnknownNameError(
        "option", word.partition("=")[0], known, see=f"lifelong-rl {name} --help"
    )


def _first_sentence(box: str) -> str:
    """What tyro says in its error box up to the next rule, as one line."""
    texts = [text for line in box.splitlines() if (text := line.strip(" │"))]
    if len(texts) > 1 and _is_rule(texts[1]):  # where the terminal has ASCII only
        texts = texts[2:]
    elif texts and texts[0].startswith("╭"):
        texts = texts[1:]
    return " ".join(" ".join(takewhile(lambda text: not _is_rule(text), texts)).split())


def _is_rule(text: str) -> bool:
    return re.match(r"[─├╰]|---", text) is not None
