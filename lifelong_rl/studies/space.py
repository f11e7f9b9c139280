"""What a tuning may try: choices and ranges of options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.studies.grid import KINDS, check_value, find_factory

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DIGITS = 3
"""Of a number that is tried: nobody measures more of them."""
RANGE = ("low", "high", "log")


@dataclass(frozen=True)
class Dimension:
    """What one option may be: one of some choices, or a number of a range.

    Attributes:
        choices: At least two; empty for a range.
        low: Least number.
        high: Greatest number.
        log: Whether the numbers are spread over orders of magnitude.
    """

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def distribution(self) -> BaseDistribution:
        """The same for Optuna, which is told of choices by their position."""
        from optuna import distributions

        if self.choices:
            return distributions.CategoricalDistribution(tuple(range(len(self.choices))))
        if self.is_whole:
            return distributions.IntDistribution(int(self.low), int(self.high), log=self.log)
        return distributions.FloatDistribution(self.low, self.high, log=self.log)

    def contains(self, value: Any) -> bool:
        """Whether it may be tried."""
        if self.choices:
            return value in self.choices
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high

    def encode(self, value: Any) -> Any:
        """A value as Optuna knows it."""
        return self.choices.index(value) if self.choices else value

    def decode(self, value: Any) -> Any:
        """A value that Optuna suggests, to `DIGITS` digits."""
        if self.choices:
            return self.choices[value]
        if self.is_whole:
            return int(value)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def as_dict(self) -> dict[str, Any]:
        """As a file holds it."""
        if self.choices:
            return {"choices": list(self.choices)}
        return {"low": self.low, "high": self.high, "log": self.log}


def read_space(content: object, owners: Mapping[str, str], path: Path) -> dict[str, Dimension]:
    """The dimensions of a space by "agent_options.NAME" or "method_options.NAME".

    Args:
        content: As in the file.
        owners: The agent and the method that are tuned.
        path: The file.

    Raises:
        UserError: It is no space, or one of other options.
    """
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: space must be options and what they may be, not {content!r}")
    found: dict[str, Dimension] = {}
    for kind, by_owner in content.items():
        kind = str(kind).replace("-", "_")
        if kind not in KINDS:
            raise UnknownNameError("kind of option in space", kind, KINDS, see=str(path))
        if not isinstance(by_owner, dict):
            raise UserError(f"{path}: {kind} of space must be given by {KINDS[kind]}")
        for owner, options in by_owner.items():
            if owner != owners[KINDS[kind]]:
                known = [owners[KINDS[kind]]]
                raise UnknownNameError(f"{KINDS[kind]} in space", str(owner), known, see=str(path))
            if not isinstance(options, dict):
                raise UserError(f"{path}: options of {owner} in space must be 'name: what' lines")
            for option, told in options.items():
                try:
                    found[f"{kind}.{option}"] = _read_dimension(kind, owner, str(option), told)
                except UserError as error:
                    raise UserError(f"{path}: space: {error}") from error
    if not found:
        raise UserError(f"{path}: space names no option")
    return found


def _read_dimension(kind: str, owner: str, option: str, told: object) -> Dimension:
    factory, name, whose = find_factory(kind, owner, option)
    if isinstance(told, list):
        choices = tuple(check_value(factory, name, value, whose) for value in told)
        if len(choices) < 2:
            raise UserError(f"{option} has nothing to choose from; list two values or more")
        if any(choice in choices[:index] for index, choice in enumerate(choices)):
            raise UserError(f"{option} lists a value twice")
        return Dimension(choices=choices)
    if not isinstance(told, dict) or not {"low", "high"} <= {*told}:
        raise UserError(
            f"{option} must be a list of choices or a range {{low: …, high: …, log: true}}"
        )
    for key in told:
        if key not in RANGE:
            raise UnknownNameError(f"entry of {option}", str(key), RANGE, see="")
    low, high = (check_value(factory, name, told[end], whose) for end in ("low", "high"))
    log = told.get("log", False)
    if not isinstance(log, bool):
        raise UserError(f"log of {option} must be true or false, not {log!r}")
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, (int, float)):
            raise UserError(f"{option} is no number; list what to choose from")
    if not low < high:
        raise UserError(f"{option} must be from a lower number to a higher, not {low} to {high}")
    if log and low <= 0:
        raise UserError(f"{option} cannot begin at {low} where log is true; begin above 0")
    return Dimension(low=low, high=high, log=log)
