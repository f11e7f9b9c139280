"""Names of sequences: of a registered one, or one that holds a stream's whole content."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from lifelong_rl.errors import UserError
from lifelong_rl.storage.yaml_file import read_yaml

STREAM = "stream:"
"""Begins a name that holds a stream's whole content, as JSON."""


def inline(name: str) -> str:
    """The name of a sequence that means the same everywhere: a file's content in place of its path.

    Args:
        name: As given; of a YAML file, if it ends so, which says what `envs.streams` reads.

    Returns:
        STREAM and the content as one line of JSON; any other name as it is.

    Raises:
        UserError: The file cannot be read, or holds something else than a mapping.
    """
    if not name.endswith((".yaml", ".yml")):
        return name
    path = Path(name).expanduser()
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a stream: 'phases' and what else it sets")
    return STREAM + json.dumps({"name": path.stem, **content})


def content_of(sequence: str) -> str | dict[str, Any]:
    """The content of a stream; any other name as it is."""
    if sequence.startswith(STREAM):
        with suppress(ValueError):
            content = json.loads(sequence.removeprefix(STREAM))
            if isinstance(content, dict):
                return content
    return sequence


def name_of(sequence: str) -> str:
    """What to call a sequence: the name within a stream's content, and any other as it is."""
    content = content_of(sequence)
    if isinstance(content, str):
        return content
    name = content.get("name")
    return name if isinstance(name, str) else "stream"
