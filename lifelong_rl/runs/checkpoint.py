"""Checkpoints: a folder with `state.safetensors` and `state.json`, never pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifelong_rl.errors import UserError
from lifelong_rl.former_options import update_fields
from lifelong_rl.storage.atomic import write_folder
from lifelong_rl.storage.json_file import Shape, check_shape, parse_json
from lifelong_rl.storage.plain_file import read_bytes
from lifelong_rl.storage.state_tree import decode_tree, encode_tree

FORMAT = 1
TENSORS, STRUCTURE = "state.safetensors", "state.json"
DOCUMENT: Shape = {"identity": dict, "tensors_sha256": str, "state": dict}
"""Shape of `state.json`, beside "format" and "sha256"."""


class CheckpointError(UserError):
    """A checkpoint that cannot be used.

    Args:
        path: The file or folder at fault.
        reason: What is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"checkpoint {path} {reason}")


def save_checkpoint(path: Path, state: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Write a checkpoint folder; it is there completely or not at all.

    Args:
        path: The folder.
        state: A state tree.
        identity: What must be equal for the state to be of use, as JSON.
    """
    tensors, structure = encode_tree(state)
    content = {
        "format": FORMAT,
        "identity": identity,
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        "state": structure,
    }
    document = {"sha256": _digest(content), **content}
    text = json.dumps(document, allow_nan=False, ensure_ascii=False)
    write_folder(path, {TENSORS: tensors, STRUCTURE: text.encode()})


def load_checkpoint(path: Path, identity: Mapping[str, Any], shape: Shape = dict) -> dict[str, Any]:
    """The state saved in a checkpoint folder.

    Args:
        path: The folder.
        identity: What the checkpoint must have been made with.
        shape: Of the state, see `lifelong_rl.storage.json_file`.

    Raises:
        CheckpointError: A file is missing, truncated, changed, or of another run; or the state has
            another shape.
    """
    structure, tensors = path / STRUCTURE, path / TENSORS
    document = _read_structure(structure)
    if document.get("format") != FORMAT:
        raise CheckpointError(
            structure, f"has format {document.get('format')!r}; this version reads {FORMAT}"
        )
    try:
        check_shape(document, DOCUMENT)
    except ValueError as error:
        raise CheckpointError(structure, f"cannot be read: {error}") from error
    made_with = update_fields(document["identity"], complete=True)
    _check_identity(structure, made_with, identity)
    blob = _read(tensors)
    if document["tensors_sha256"] != hashlib.sha256(blob).hexdigest():
        raise CheckpointError(tensors, "is truncated or was changed: its checksum differs")
    try:
        state: dict[str, Any] = decode_tree(blob, document["state"])
        check_shape(state, shape)
    except ValueError as error:
        raise CheckpointError(path, f"cannot be read: {error}") from error
    return state


def _check_identity(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a checkpoint made with anything that changes the numbers.

    Raises:
        CheckpointError: Something differs; the message says what, and what to do.
    """
    mujoco, installed = found.get("mujoco"), wanted.get("mujoco")
    if mujoco != installed:
        raise CheckpointError(
            path,
            f"was made with MuJoCo {mujoco}, installed is {installed}; trajectories differ "
            f"between versions, so install the same: pip install mujoco=={mujoco}",
        )
    for key in sorted({*found, *wanted}):
        if found.get(key) != wanted.get(key):
            raise CheckpointError(
                path,
                f"belongs to another run: {key.replace('_', ' ')} is {found.get(key)!r} there "
                f"and {wanted.get(key)!r} here",
            )


def _read_structure(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(_read(path), object)
    except ValueError as error:
        raise CheckpointError(path, "is truncated or not a checkpoint") from error
    if not isinstance(document, dict) or "sha256" not in document:
        raise CheckpointError(path, "is not a checkpoint of lifelong-rl")
    content = {key: value for key, value in document.items() if key != "sha256"}
    if document["sha256"] != _digest(content):
        raise CheckpointError(path, "was changed after it was written: its checksum differs")
    return document


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror}") from error


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
