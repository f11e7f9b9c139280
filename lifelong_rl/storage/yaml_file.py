"""YAML that somebody else may have written: read in one place, to plain values only.

Read are mappings, lists, texts, numbers, true, false and null, as JSON has them, with anchors and
merges. Everything else that YAML can say is refused: tags that make other things, mappings that set
a key twice, aliases that contain themselves or stand for more than a file can hold. A date is text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from lifelong_rl.errors import UserError
from lifelong_rl.storage.json_file import DEEPEST
from lifelong_rl.storage.plain_file import read_bytes
from lifelong_rl.text import shorten

MOST = 100_000
"""Values in a text, each counted as often as an alias repeats it."""
LONGEST = 2_000_000
"""Characters of a text; longer ones would be parsed for half a minute and more."""

_STANDARD = "tag:yaml.org,2002:"
_PLAIN = {_STANDARD + kind for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
_MERGE = _STANDARD + "merge"


def read_yaml(path: Path) -> Any:
    """The YAML in a file.

    Raises:
        UserError: It cannot be read, or is not such YAML.
    """
    try:
        return parse_yaml(read_bytes(path).decode())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not YAML: {error}") from error


def parse_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: It is something else; the message is one line.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has more than {LONGEST} characters")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node)
        return loader.construct_document(node)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def dump_yaml(value: object) -> str:
    """YAML that `parse_yaml` reads back."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False)
    return text


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, which to PyYAML is text, because it has no dot; and dates as text."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse keys that come twice; what a merge brings may be set anew.

        A mapping that another one merges is flattened before it is built itself, and both are in it
        from then on: what it says is checked once, before.
        """
        if id(node) not in self._checked:
            self._checked.add(id(node))
            self._refuse_repeats(node)
        super().flatten_mapping(node)

    def _refuse_repeats(self, node: yaml.MappingNode) -> None:
        keys: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ValueError(f"{shorten(key, 40)} cannot be a key")
            if key in keys:
                raise ValueError(f"it sets {shorten(key, 40)} twice")
            keys.add(key)


def _construct_checked(loader: _Loader, node: yaml.ScalarNode) -> Any:
    """A number or boolean; PyYAML raises anything where the text of a tag is not what it says."""
    kind = node.tag.removeprefix(_STANDARD)
    try:
        return getattr(yaml.SafeLoader, f"construct_yaml_{kind}")(loader, node)
    except (ValueError, LookupError) as error:
        raise ValueError(f"{shorten(node.value, 40)} is no {kind}") from error


def _measure(root: yaml.Node) -> None:
    """Raise ValueError for tags of other things, and for what is too large or deep.

    Each node is visited once, however often aliases repeat it.
    """
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def visit(node: yaml.Node, depth: int) -> int:
        if id(node) in open_nodes:
            raise ValueError("an alias in it contains itself")
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")
        if id(node) in sizes:
            return sizes[id(node)]
        if node.tag not in _PLAIN and node.tag != _MERGE:
            raise ValueError(f"the tag {node.tag.replace(_STANDARD, '!!')} is not allowed in it")
        open_nodes.add(id(node))
        children = []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        size = 1 + sum(visit(child, depth + 1) for child in children)
        if size > MOST:
            raise ValueError(f"it holds more than {MOST} values")
        open_nodes.discard(id(node))
        sizes[id(node)] = size
        return size

    visit(root, 0)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in (*_PLAIN, _MERGE)]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(
        _STANDARD + "float",
        re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )
for _kind in ("bool", "int", "float"):
    _Loader.add_constructor(_STANDARD + _kind, _construct_checked)
