"""The file of a saved agent: a zip of one JSON text and one safetensors blob, never pickle."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lifelong_rl.errors import FileError
from lifelong_rl.storage.atomic import write_file, writing
from lifelong_rl.storage.plain_file import read_bytes
from lifelong_rl.storage.state_tree import decode_tree, encode_tree
from lifelong_rl.storage.versions import versions

FORMAT = "lifelong-rl agent 1"
STRUCTURE, TENSORS = "agent.json", "state.safetensors"
LARGEST_STRUCTURE = 2**26
"""Bytes of the JSON text that are read."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same agent makes the same bytes
_OF_STABLE_BASELINES = "_stable_baselines3_version"

Target = str | Path | BinaryIO | io.BufferedIOBase
"""A path, or a file that is open for bytes."""


class AgentFileError(FileError):
    """A file that cannot be used as a saved agent."""


def write_agent(target: Target, algorithm: str, content: Mapping[str, Any]) -> None:
    """Write a file; a path is there completely or not at all.

    Args:
        target: Where to; a path without an ending gets ".zip", and folders on the way are made.
        algorithm: The name of the agent's class.
        content: A state tree.

    Raises:
        WriteError: The disk refused.
    """
    tensors, structure = encode_tree(content)
    document = {
        "format": FORMAT,
        "algorithm": algorithm,
        "versions": versions(),
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        "content": structure,
    }
    document["sha256"] = _digest(document)
    box = io.BytesIO()
    with zipfile.ZipFile(box, "w", zipfile.ZIP_STORED) as file:
        text = json.dumps(document, allow_nan=False, ensure_ascii=False)
        file.writestr(zipfile.ZipInfo(STRUCTURE, _EPOCH), text)
        file.writestr(zipfile.ZipInfo(TENSORS, _EPOCH), tensors)
    if not isinstance(target, str | Path):
        target.write(box.getvalue())
        return
    path = Path(target)
    path = path if path.suffix else path.with_suffix(".zip")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, box.getvalue())


def read_agent(target: Target, algorithm: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file and check it.

    Nothing in it is decompressed or run, and no more is read than its size.

    Args:
        target: As for `write_agent`.
        algorithm: The name of the class that the agent must have.

    Returns:
        The content, and the versions of what it was saved with.

    Raises:
        AgentFileError: The file is missing, damaged, changed or something else.
    """
    file, blob = _read(target)
    text, tensors = _members(file, blob)
    try:
        document = json.loads(text)
        found = document.get("format")
        if found != FORMAT:
            raise AgentFileError(file, f"has the format {found!r}; this version reads {FORMAT!r}")
        digest = document.pop("sha256", None)
        if (digest, document["tensors_sha256"]) != (
            _digest(document),
            hashlib.sha256(tensors).hexdigest(),
        ):
            raise AgentFileError(file, "was changed after it was written: its checksum differs")
        if document["algorithm"] != algorithm:
            raise AgentFileError(
                file, f"holds an agent of {document['algorithm']}; {algorithm} cannot load it"
            )
        content = decode_tree(tensors, document["content"])
        return dict(content), dict(document["versions"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AgentFileError(file, "is damaged") from error


def _read(target: Target) -> tuple[object, bytes]:
    """What to call a file, and all its bytes."""
    if not isinstance(target, str | Path):
        blob = target.read()
        if not blob and target.seekable():  # just written, as Stable-Baselines3 reads it too
            target.seek(0)
            blob = target.read()
        return "the file", blob
    path = Path(target)
    if not path.suffix and not path.is_file():
        path = path.with_suffix(".zip")
    try:
        return path, read_bytes(path)
    except OSError as error:
        raise AgentFileError(path, f"cannot be read: {error.strerror}") from error


def _members(file: object, blob: bytes) -> tuple[bytes, bytes]:
    """The two members of the zip.

    Raises:
        AgentFileError: There are others, or they are compressed, too large or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            infos = archive.infolist()
            names = [info.filename for info in infos]
            if _OF_STABLE_BASELINES in names or {"data", "policy.pth"} <= set(names):
                raise AgentFileError(
                    file,
                    "is a file of Stable-Baselines3's own format, which holds pickles: load it "
                    "with Stable-Baselines3, and hand its get_parameters() to set_parameters",
                )
            if sorted(names) != sorted((STRUCTURE, TENSORS)):
                raise AgentFileError(
                    file,
                    f"is not a saved agent: it holds {', '.join(names[:5]) or 'nothing'} and not "
                    f"{STRUCTURE} and {TENSORS} alone",
                )
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise AgentFileError(file, "is not a saved agent: its content is compressed")
            if archive.getinfo(STRUCTURE).file_size > LARGEST_STRUCTURE:
                raise AgentFileError(file, f"is not a saved agent: its {STRUCTURE} is too large")
            return archive.read(STRUCTURE), archive.read(TENSORS)
    except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise AgentFileError(file, "is not a saved agent, or it is damaged") from error


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
