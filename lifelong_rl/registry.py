"""Named things a user can choose and extend: tasks, sequences, agents, methods, objectives.

A thing is registered beside its definition, by `@METHODS.register("ewc")` over the class, or by
`SEQUENCES.register("arm3")(...)` around any other object. Where to look for such files is told by
entry points of installed packages, of this one too, in a group for each table
("lifelong_rl.methods"):

- `anything = "package.folder"`: all files of the folder, or the one file of a module. They are read
  without being imported, so names are literals; a file that computes its names is imported.
- `NAME = "package.module:Attribute"`: the one thing, which then need not be registered.

A module given by `--plugin` registers what it has when it is imported. A plug-in is code: none is
imported because a file names it.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from lifelong_rl import source
from lifelong_rl.errors import ContractError, UnknownNameError, UserError, no_exit
from lifelong_rl.former_names import explain_import_error
from lifelong_rl.source import ClassSource, Registration

T = TypeVar("T")
RESERVED = frozenset(" \t\n+,")
"""What no name may have in it: commands put several names together by these."""
OURS = "lifelong_rl."
"""What the values of this package's own entry points begin with."""
LOADED_PLUGINS: set[str] = set()
"""Modules that the user has named, and `load_plugins` has imported."""


class Registry:
    """A table from names to objects, each imported only when it is asked for.

    It can be read like a mapping: `name in TASKS`, `TASKS["reach"]`, `TASKS.items()`.

    Args:
        kind: What the table holds, in the singular ("method").
        is_a: What a thing in it has to be, in words that come after "is not".
        has: Attributes by which such a thing is known.
        makes: Whether a class in it stands for what it makes without arguments.

    Attributes:
        broken: Why files could not be read or imported, one line each, by module.
    """

    def __init__(
        self, kind: str, is_a: str = "", has: tuple[str, ...] = (), *, makes: bool = False
    ) -> None:
        self.kind = kind
        self.is_a = is_a
        self.has = has
        self.makes = makes
        self.broken: dict[str, str] = {}
        self._registered: dict[str, Any] = {}
        self._owners: dict[str, str] = {}
        self._found: dict[str, Registration] = {}
        self._computing: list[str] = []
        self._was_read = False

    @property
    def group(self) -> str:
        """The group of entry points that fill this table ("lifelong_rl.methods")."""
        return f"lifelong_rl.{self.kind}s"

    @property
    def variable(self) -> str:
        """What the table is called in files that register something ("METHODS")."""
        return f"{self.kind}s".replace("-", "_").upper()

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds an object under `name`.

        Raises:
            UserError: `name` is no text, or is taken by an object of another module.
        """
        if not isinstance(name, str) or not name or set(name) & RESERVED:
            raise UserError(
                f"a {self.kind} is registered under its name, a text without spaces, '+' and ',', "
                f'such as @{self.variable}.register("my-{self.kind}"), and not under {name!r}'
            )
        module = sys._getframe(1).f_globals.get("__name__", "")

        def add(thing: T) -> T:
            owner = self.owner(name)
            if owner not in (None, module, getattr(thing, "__module__", None)):
                raise UserError(f"the {self.kind} name '{name}' is already taken by {owner}")
            self._registered[name], self._owners[name] = thing, module
            return thing

        return add

    def owner(self, name: str) -> str | None:
        """The module that registers `name`; None if none does."""
        self._read()
        found = self._found.get(name)
        return self._owners.get(name, found.module if found else None)

    def name_of(self, thing: Any) -> str | None:
        """The name that an object is registered under; None if it is not."""
        place = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", None)
        for name in self.names():
            found = self._found.get(name)
            if self._registered.get(name, self) is thing:
                return name
            if found is not None and (found.module, found.attribute) == place:
                return name
        return None

    def names(self) -> list[str]:
        """All names, what ships with the project first."""
        self._read()
        self._import_computed()
        return list({**self._found, **self._registered})

    def check(self, name: str) -> None:
        """Raise UserError unless `name` is in the table; imports nothing that is named.

        Raises:
            UnknownNameError: No such name; the message gives the nearest one.
            UserError: The file that seems to hold it is broken.
        """
        known = self.names()
        if name not in known:
            for module, problem in self.broken.items():
                if name.replace("-", "_") == module.rpartition(".")[2]:
                    raise UserError(f"the {self.kind} '{name}' ({module}) is broken: {problem}")
            raise UnknownNameError(self.kind, name, known)

    def get(self, name: str) -> Any:
        """The object called `name`.

        Raises:
            UnknownNameError: No such name; the message gives the nearest one.
            UserError: The module that provides it cannot be imported.
            ContractError: What is registered is of another kind.
        """
        if name not in self._registered:
            self.check(name)
        if name not in self._registered:
            found = self._found[name]
            place = f"{found.module}:{found.attribute}" if found.attribute else found.module
            try:
                module = _import(found.module)
                if name not in self._registered:
                    self._registered[name] = getattr(module, found.attribute)
            except Exception as error:
                raise UserError(
                    f"the {self.kind} '{name}' ({place}) cannot be imported: {error}"
                    + explain_import_error(error)
                ) from error
        thing = self._registered[name]
        if self.makes and isinstance(thing, type):
            thing = self._registered[name] = thing()
        if not all(hasattr(thing, attribute) for attribute in self.has):
            raise ContractError(
                f"the {self.kind} '{name}' of {self.owner(name)}", f"{thing!r} is not {self.is_a}"
            )
        return thing

    def describe(self, name: str) -> str:
        """One line about `name`: its `description`, or its docstring's first line.

        Raises:
            UserError: See `get`.
        """
        found = None if name in self._registered else self.source(name)
        if found is not None and found.doc:
            return found.doc.partition("\n")[0]
        thing = self.get(name)
        description = getattr(thing, "description", None)
        if isinstance(description, str) and description:
            return description
        return (inspect.getdoc(thing) or "").partition("\n")[0]

    def source(self, name: str) -> ClassSource | None:
        """The source of the class called `name`, or of the object's.

        None if it cannot be read, or not all that it inherits from.

        Raises:
            UnknownNameError: No such name.
        """
        if name in self._registered:
            thing = self._registered[name]
            owner = thing if isinstance(thing, type) else type(thing)
            return _whole(source.find_class(owner.__module__, owner.__qualname__))
        self.check(name)
        found = self._found.get(name)  # checking may have imported it
        if found is None or not found.attribute:
            return None
        return _whole(source.find_class(found.module, found.attribute))

    def declared(self, name: str, attribute: str) -> Any:
        """What the class or object called `name` sets an attribute to; None if it does not.

        Nothing is imported where the class can be read and sets the attribute by a literal.

        Raises:
            UnknownNameError: No such name.
            UserError: It has to be imported, and cannot be.
        """
        found = None if name in self._registered else self.source(name)
        if found is not None:
            try:
                return found.declared(attribute)
            except AttributeError:
                return None
            except ValueError:
                pass
        return getattr(self.get(name), attribute, None)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Names and objects; all are imported."""
        return ((name, self.get(name)) for name in self.names())

    def values(self) -> Iterator[Any]:
        """The objects; all are imported."""
        return (self.get(name) for name in self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._registered or name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def _read(self) -> None:
        """Find what entry points lead to, without importing it."""
        if self._was_read:
            return
        self._was_read = True
        for value, name in _points(self.group):
            module, _, attribute = value.partition(":")
            if attribute:
                self._add(Registration(name, module, attribute))
                continue
            try:
                modules = list(source.list_modules(module))
            except Exception as error:
                self.broken[module] = _one_line(error)
                continue
            for each in modules:
                self._scan(each)

    def _scan(self, module: str) -> None:
        try:
            found, computed = source.read_registrations(module, self.variable)
        except Exception as error:
            self.broken[module] = _one_line(error)
            return
        for registration in found:
            self._add(registration)
        if computed:
            self._computing.append(module)

    def _add(self, found: Registration) -> None:
        known = self._found.setdefault(found.name, found)
        if known.module != found.module:
            problem = f"the {self.kind} name '{found.name}' is taken by {known.module}"
            before = self.broken.get(found.module)
            self.broken[found.module] = problem if before is None else f"{before}; {problem}"

    def _import_computed(self) -> None:
        """Import the files that compute their names.

        Importing one may import its package, which may ask for all names while it is imported: a
        file leaves the list only when it is there.
        """
        for module in list(self._computing):
            try:
                _import(module)
            except Exception as error:
                self.broken[module] = _one_line(error) + explain_import_error(error)
            if module in self._computing:
                self._computing.remove(module)


def load_plugins(modules: Iterable[str]) -> None:
    """Import modules that register something.

    The current folder is searched last, and only for a module that is nowhere else: it may be
    somebody else's, and what is searched once is searched for every later import.

    Args:
        modules: Named by whoever runs this, never by a file alone: see `refuse_unnamed`.

    Raises:
        UserError: A module cannot be imported.
    """
    for module in modules:
        try:
            _import_plugin(module)
        except Exception as error:
            raise UserError(
                f"the plug-in '{module}' cannot be imported: {_one_line(error)}"
                + explain_import_error(error)
            ) from error
        LOADED_PLUGINS.add(module)


def _import(module: str) -> ModuleType:
    """Import a module, which may be anyone's.

    Raises:
        Exception: Whatever it raises; it cannot end the program.
    """
    with no_exit():
        return import_module(module)


def refuse_unnamed(plugins: Iterable[str], named: Collection[str]) -> None:
    """Raise UserError if a file names a plug-in that the user does not.

    Args:
        plugins: What a file names, which may be somebody else's.
        named: What the user has named.
    """
    for module in plugins:
        if not re.fullmatch(r"\w[\w.-]*", module):
            raise UserError(f"the plug-in {module!r} is no name of a module")
    unnamed = [module for module in plugins if module not in named]
    if unnamed:
        words = " ".join(f"--plugin {module}" for module in unnamed)
        raise UserError(
            f"the plug-in {', '.join(map(repr, unnamed))} is named by a file alone, and importing "
            f"it runs its code; if you trust it, name it yourself: add {words}"
        )


def _import_plugin(module: str) -> None:
    try:
        _import(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0] or os.getcwd() in sys.path:
            raise
        sys.path.append(os.getcwd())
        _import(module)


def _points(group: str) -> list[tuple[str, str]]:
    """Values and names of the entry points of a group, those of this package first.

    The others are in the order of their values, which no file system decides: of two packages that
    claim a name the same one has it everywhere.

    Raises:
        UserError: See `_check_installed`.
    """
    _check_installed()
    points = [(point.value, point.name) for point in entry_points(group=group)]
    ours = [point for point in points if point[0].startswith(OURS)]
    return ours + sorted(point for point in points if point not in ours)


@cache
def _check_installed() -> None:
    """Raise UserError if this package has no entry points: it is not installed as it lies here."""
    if any(point.value.startswith(OURS) for point in entry_points(group="lifelong_rl.agents")):
        return
    root = Path(__file__).resolve().parents[1]
    raise UserError(
        f"lifelong_rl in {root} is not installed as it is there, so that nothing in it can be "
        f"found by name; install it (again): python -m pip install --editable {root}"
    )


def _whole(found: ClassSource | None) -> ClassSource | None:
    return found if found is not None and found.is_whole else None


def _one_line(error: Exception) -> str:
    told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return " ".join(told.split())


TASKS = Registry(
    "task", "a lifelong_rl.envs.task.Task", ("name", "version", "reward_terms"), makes=True
)
EXPERTS = Registry("expert", "a function from states to actions", ("__call__",))
SEQUENCES = Registry("sequence")
SEQUENCE_MAKERS = Registry("sequence-maker", "a function of a name", ("__call__",))
"""Functions from what stands after "KIND:" in the name of a sequence to a sequence.

A name without a kind, such as "reach,push", is for the maker called "tasks".
"""
AGENTS = Registry("agent", "a class with a classmethod build", ("build",))
METHODS = Registry("method", "a subclass of ContinualMethod", ("__mro__", "extend_batch"))
OBJECTIVES = Registry("objective", "a subclass of SelfSupervised", ("__mro__", "knows_frames"))
UNLABELLED_OBJECTIVES = Registry(
    "unlabelled-objective", "a subclass of UnlabelledObjective", ("__mro__", "view_labelled")
)
ENCODER_METHODS = Registry(
    "encoder-method", "a subclass of ContinualMethod", ("__mro__", "extend_batch")
)
