"""A dataset in a file: one compressed `.npz` that says what it holds and is checked.

Besides its arrays the file holds `metadata`, a JSON text; `numpy.load` reads both without pickle.
The same dataset makes the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.benchmark.atomic import write_file, writing
from lifelong_rl.errors import UserError

Arrays = Mapping[str, npt.NDArray[Any]]
METADATA = "metadata"


class DatasetError(UserError):
    """A file that cannot be used as the dataset it should be.

    Args:
        path: The file.
        reason: What is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path} {reason}")


def save_dataset(path: Path, kind: str, metadata: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a dataset; at any moment its file is there completely or not at all.

    Args:
        path: The file; its folder is made.
        kind: What the dataset holds, in the plural: "demonstrations".
        metadata: What else is to be known of it, as JSON.
        arrays: By name; none is called "metadata".

    Raises:
        WriteError: The disk refused.
    """
    document = {"format": _format(kind), **metadata}
    document["sha256"] = _digest(document, arrays)
    box = io.BytesIO()
    np.savez_compressed(box, **{METADATA: np.array(json.dumps(document))}, **arrays)  # type: ignore[arg-type]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, box.getvalue())


def load_dataset(path: Path, kind: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays and the metadata of a dataset, as they were saved.

    Args:
        path: The file.
        kind: What it must hold.

    Raises:
        DatasetError: The file is missing, damaged or something else.
    """
    foreign = f"is not a file of {kind}"
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise DatasetError(path, f"cannot be read: {error.strerror}") from error
    if not blob.startswith(b"PK"):
        raise DatasetError(path, foreign)
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as file:
            if METADATA not in file.files:
                raise DatasetError(path, foreign)
            arrays = {name: file[name] for name in file.files}
        document = json.loads(str(arrays.pop(METADATA)))
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise DatasetError(path, "is truncated or damaged") from error
    if not isinstance(document, dict):
        raise DatasetError(path, foreign)
    found, wanted = document.get("format"), _format(kind)
    if found != wanted:
        raise DatasetError(path, f"has the format {found!r}; this version reads {wanted!r}")
    if document.pop("sha256", None) != _digest(document, arrays):
        raise DatasetError(path, "was changed after it was written: its checksum differs")
    del document["format"]
    return arrays, document


def _format(kind: str) -> str:
    return f"lifelong-rl {kind} 1"


def _digest(document: Mapping[str, Any], arrays: Arrays) -> str:
    """SHA-256 of the metadata and of every array's name, type, shape and content."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
