"""Named things a user can choose and extend: methods, agents and sequences.

Three sources feed one table: what ships with the project, the entry points of installed
packages, and what a module given by `--plugin` registers when it is imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TypeVar

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.former_names import explain_import_error

T = TypeVar("T")


class Registry:
    """A table from names to objects, resolved only when one is asked for.

    Args:
        kind: What the table holds, in the singular ("method").
        builtin: Name to "module:attribute" for what ships with the project.
    """

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self._targets: dict[str, str] = dict(builtin)
        self._registered: dict[str, object] = {}
        self._entry_points_read = False

    @property
    def group(self) -> str:
        """The entry-point group that extends this table ("lifelong_rl.methods")."""
        return f"lifelong_rl.{self.kind}s"

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds an object under `name`.

        Raises:
            UserError: `name` is taken by another object.
        """

        def add(thing: T) -> T:
            self._read_entry_points()
            target = self._targets.get(name)
            if target is not None and target == _target(thing):
                return thing  # an entry point names what its module registers
            if target is not None or self._registered.get(name, thing) is not thing:
                raise UserError(f"the {self.kind} name '{name}' is already taken")
            self._registered[name] = thing
            return thing

        return add

    def names(self) -> list[str]:
        """All names, what ships with the project first."""
        self._read_entry_points()
        return list(self._targets) + list(self._registered)

    def check(self, name: str) -> None:
        """Raise UnknownNameError unless `name` is in the table; imports nothing."""
        if name not in self.names():
            raise UnknownNameError(self.kind, name, self.names())

    def get(self, name: str) -> object:
        """The object called `name`.

        Raises:
            UnknownNameError: No such name; the message gives the nearest one.
            UserError: The plug-in that provides it cannot be imported.
        """
        self.check(name)
        if name in self._registered:
            return self._registered[name]
        module, _, attribute = self._targets[name].partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"the {self.kind} '{name}' ({self._targets[name]}) cannot be imported: {error}"
                + explain_import_error(error)
            ) from error

    def describe(self, name: str) -> str:
        """One line about `name`: its `description`, or its docstring's first line."""
        thing = self.get(name)
        description = getattr(thing, "description", None)
        if isinstance(description, str) and description:
            return description
        return (inspect.getdoc(thing) or "").partition("\n")[0]

    def _read_entry_points(self) -> None:
        if self._entry_points_read:
            return
        self._entry_points_read = True
        for point in entry_points(group=self.group):
            if self._targets.setdefault(point.name, point.value) != point.value:
                raise UserError(
                    f"the {self.kind} name '{point.name}' is claimed by {point.value} "
                    f"and by {self._targets[point.name]}; uninstall one of them"
                )


def lookup(kind: str, name: str, table: Mapping[str, T], see: str | None = None) -> T:
    """`table[name]`, or an error with the nearest name that the table has.

    Args:
        kind: What the table holds, in the singular ("camera").
        name: What to look up.
        table: The known names.
        see: Where they are listed; see `UnknownNameError`.

    Raises:
        UnknownNameError: The table has no such name.
    """
    if name not in table:
        raise UnknownNameError(kind, name, table, see)
    return table[name]


def _target(thing: object) -> str:
    """How an entry point names a class or a function."""
    return f"{getattr(thing, '__module__', '')}:{getattr(thing, '__qualname__', '')}"


AGENTS = Registry(
    "agent",
    {
        "sac": "lifelong_rl.agents.sac:SAC",
        "td3": "lifelong_rl.agents.td3:TD3",
        "ppo": "lifelong_rl.agents.ppo:PPO",
        "bc": "lifelong_rl.agents.bc:BC",
        "bc-stream": "lifelong_rl.agents.bc_stream:BCStream",
        "offline-rl": "lifelong_rl.agents.offline_rl:OfflineRL",
        "classifier": "lifelong_rl.agents.classifier:Classifier",
    },
)
SEQUENCES = Registry(
    "sequence",
    {
        name: f"lifelong_rl.envs.sequences:{name.upper()}"
        for name in ("arm3", "arm5", "arm10", "arm20", "claw10", "claw20")
    }
    | {
        name: f"lifelong_rl.envs.labelled:{name.upper().replace('-', '_')}"
        for name in ("split-digits", "permuted-digits", "noisy-digits")
    }
    | {"frames": "lifelong_rl.envs.labelled_frames:FRAMES"},
)
SEQUENCES_OF_TASKS = "lifelong_rl.envs.sequences:get_sequence"
"""Makes a sequence of the names of tasks, joined by commas."""
