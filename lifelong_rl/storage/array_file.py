"""Arrays in a file: one compressed `.npz` that says what it holds and is checked.

Besides its arrays such a file holds `metadata`, a JSON text; `numpy.load` reads both without
pickle. The same content makes the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lifelong_rl.errors import FileError
from lifelong_rl.storage.atomic import write_file, writing
from lifelong_rl.storage.json_file import Shape, check_shape, parse_json
from lifelong_rl.storage.plain_file import read_bytes

_METADATA = "metadata"


class ArrayFileError(FileError):
    """A file of arrays that cannot be used."""


@dataclass(frozen=True)
class ArrayFormat:
    """One kind of files.

    Attributes:
        contents: What they hold, in the plural, such as "demonstrations".
        version: Of the format.
        command: The command that makes them.
        error: What to raise about a file.
        shape: Of the metadata, see `lifelong_rl.storage.json_file`.
    """

    contents: str
    version: int
    command: str
    error: type[ArrayFileError]
    shape: Shape = dict

    @property
    def name(self) -> str:
        """What a file calls its format."""
        return f"lifelong-rl {self.contents} {self.version}"

    def save(
        self, path: Path, arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any]
    ) -> None:
        """Write a file; at any moment it is there completely or not at all.

        Args:
            path: The file; folders on the way to it are made.
            arrays: By name; none is called "metadata".
            metadata: As JSON; "format" and "sha256" are added.

        Raises:
            WriteError: The disk refused.
        """
        document = {"format": self.name, **metadata}
        document["sha256"] = _digest(document, arrays)
        box = io.BytesIO()
        np.savez_compressed(box, **{_METADATA: np.array(json.dumps(document))}, **arrays)  # type: ignore[arg-type]
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, box.getvalue())

    def load(self, path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Read a file and check it.

        Returns:
            The arrays by name, and the metadata as it was given to `save`.

        Raises:
            ArrayFileError: The file is missing, damaged, changed or something else; `error` tells
                which class of it.
        """
        arrays, document = self._read(path)
        if document.get("format") != self.name:
            raise self.error(
                path, f"has the format {document.get('format')!r}; this version reads {self.name!r}"
            )
        digest = document.pop("sha256", None)
        if digest != _digest(document, arrays):
            raise self.error(path, "was changed after it was written: its checksum differs")
        del document["format"]
        try:
            check_shape(document, self.shape)
        except ValueError as error:
            raise self.error(path, f"holds no {self.contents}: in its metadata {error}") from error
        return arrays, document

    def _read(self, path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """The arrays and the metadata of a file, both unchecked."""
        foreign = f"is not a file of {self.contents} (see: lifelong-rl {self.command} --help)"
        try:
            blob = read_bytes(path)
        except OSError as error:
            raise self.error(path, f"cannot be read: {error.strerror}") from error
        if not blob.startswith(b"PK"):
            raise self.error(path, foreign)
        try:
            with np.load(io.BytesIO(blob), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            document = parse_json(str(arrays.pop(_METADATA, "null")), object)
        # about bytes that are not theirs, zipfile and NumPy raise anything: BadZipFile, zlib.error,
        # NotImplementedError (compression), RuntimeError (encryption), MemoryError (shape) …
        except Exception as error:
            raise self.error(path, "is truncated or damaged") from error
        if not isinstance(document, dict):
            raise self.error(path, foreign)
        return arrays, document


def _digest(document: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 of the metadata and of every array's name, type, shape and content."""
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
