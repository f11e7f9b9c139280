"""JSON that somebody else may have written: read in one place, which checks its shape.

A shape is written as the value it describes: `{"tasks": [str], "cost": {"seconds": float}}`.
`{"name": shape}` is an object that has at least this entry, `{str: shape}` one whose entries are
all alike, `[shape]` an array; then there are `str`, `bool`, `int`, `float` (any finite number),
`dict`, `list`, unions of these such as `str | None`, `Name` for a text that is one line, and
`object` for anything. Whole numbers fit into 64 bits.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from lifelong_rl.errors import UserError
from lifelong_rl.storage.plain_file import read_bytes
from lifelong_rl.text import is_one_line, shorten

Shape = Any
DEEPEST = 200
"""Levels of arrays and objects; more could exhaust the stack of whoever walks through them."""


class Name(str):
    """Stands in a shape for a text that can be printed in a line."""


_NAMES = {
    str: "a text",
    Name: "a text in one line",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "an array",
    type(None): "null",
}


def read_json(path: Path, shape: Shape) -> Any:
    """The JSON in a file.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: It cannot be read, or is not JSON of this shape.
    """
    try:
        return parse_json(read_bytes(path), shape)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"cannot read {path}: {error}") from error


def parse_json(content: bytes | str, shape: Shape) -> Any:
    """The value of a JSON text of this shape; UTF-8 if it is bytes.

    Raises:
        ValueError: It is something else; the message is one line.
    """
    text = content if isinstance(content, str) else content.decode()
    try:
        value = json.loads(
            text,
            object_pairs_hook=_refuse_repeats,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None
    _refuse_depth(value)
    if "\\ud" in text.lower():  # half of a pair of surrogates is no text, and cannot be written
        json.dumps(value, ensure_ascii=False).encode()
    check_shape(value, shape)
    return value


def check_shape(value: Any, shape: Shape, place: str = "") -> None:
    """Raise ValueError unless a value has a shape; the message tells where it has not."""
    if isinstance(shape, dict):
        _check_kind(value, dict, place)
        for name, inner in shape.items():
            if name is str:
                for key, entry in value.items():
                    check_shape(entry, inner, f"{place}.{key}" if place else key)
            elif name not in value:
                raise ValueError(f"{place or 'it'} lacks '{name}'")
            else:
                check_shape(value[name], inner, f"{place}.{name}" if place else name)
    elif isinstance(shape, list):
        _check_kind(value, list, place)
        for index, entry in enumerate(value):
            check_shape(entry, shape[0], f"{place}[{index}]")
    elif shape is not object:
        _check_kind(value, shape, place)


def _check_kind(value: Any, kind: Any, place: str) -> None:
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if not any(_is(value, one) for one in kinds):
        wanted = " or ".join(_NAMES[one] for one in kinds)
        raise ValueError(f"{place or 'it'} is {shorten(value, 40)}, not {wanted}")


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        try:
            return not isinstance(value, bool) and math.isfinite(value)
        except (TypeError, OverflowError):
            return False
    if kind is int:
        return type(value) is int and -(2**63) <= value < 2**63
    if kind is Name:
        return isinstance(value, str) and is_one_line(value)
    return isinstance(value, kind)


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it sets {shorten(name, 40)} twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text} is too large a number")
    return number


def _refuse_depth(value: Any) -> None:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEPEST):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (dict, list))
        ]
    if level:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
