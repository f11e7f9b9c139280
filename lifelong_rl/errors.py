"""Errors a user can act on: one line, the value, what was allowed, the nearest fix."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """A mistake in the input; the command line prints it as one line and exits with 2."""


class UnknownNameError(UserError, ValueError):
    """A name that is not in its list.

    Args:
        kind: What was named, in the singular: "method", "agent", "sequence" …
        name: The name that was given.
        known: The names that exist.
        see: Where the names are listed; by default `lifelong-rl list KINDs`.

    Attributes:
        known: The names that exist, sorted.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], see: str | None = None) -> None:
        self.known = known = sorted(known)
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = (
            f"did you mean '{nearest[0]}'?" if nearest else f"known: {', '.join(known) or 'none'}"
        )
        where = f" (see: lifelong-rl list {kind}s)" if see is None else see and f" (see: {see})"
        super().__init__(f"unknown {kind} '{name}'; {hint}{where}")


class FileError(UserError):
    """A file that cannot be used.

    Args:
        path: The file, or what it is called.
        reason: What is wrong with it.
    """

    def __init__(self, path: object, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path} {reason}")


class ContractError(UserError):
    """What came from outside, such as a plug-in, does not do what is asked of its kind.

    Args:
        owner: What it is, such as "the method 'ewc'".
        problem: What it does, and what is expected.
    """

    def __init__(self, owner: str, problem: str) -> None:
        self.owner, self.problem = owner, problem
        super().__init__(f"{owner}: {problem}")


class ExitError(UserError):
    """Code that was called, such as a plug-in's, would have ended the program.

    Args:
        cause: What it raised, `SystemExit` or another exception that is no `Exception`.
    """

    def __init__(self, cause: BaseException) -> None:
        frame = traceback.extract_tb(cause.__traceback__)[-1]
        asked = f"sys.exit({cause.code!r})" if isinstance(cause, SystemExit) else repr(cause)
        super().__init__(
            f"{Path(frame.filename).name}, line {frame.lineno}, ends the program ({asked}); "
            "raise an error there, or let it go on"
        )


@contextmanager
def no_exit() -> Iterator[None]:
    """Let nothing end the program but Ctrl-C, whatever code is called.

    Raises:
        ExitError: It was to end.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as cause:
        raise ExitError(cause) from cause


class NonFiniteError(UserError, ArithmeticError):
    """A loss, penalty, gradient or reward became NaN or infinite.

    Args:
        quantity: What is not finite: "loss", "penalty", "gradient norm", "reward".
        component: The component that computed it ("actor", "critic", "environment").
        value: The offending value.
    """

    def __init__(self, quantity: str, component: str, value: float) -> None:
        self.quantity, self.component, self.value = quantity, component, value
        super().__init__(f"the {quantity} of '{component}' is {value}")


def is_out_of_memory(error: Exception) -> bool:
    """Whether more memory was asked for than there is: by Python, NumPy, torch or MuJoCo."""
    spoken = ("allocate memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(words in str(error) for words in spoken)


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
