"""Datasets made once: demonstrations and camera frames, kept as files in the user's cache.

The folder is `$LIFELONG_RL_CACHE`, or else `lifelong_rl` in `$XDG_CACHE_HOME` or `~/.cache`; with
`LIFELONG_RL_CACHE` set to nothing, or for a user without a home, no dataset is kept. Runs do not
depend on what is in it, and it may be removed at any time. Demonstrations have the format of
`lifelong-rl demos`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lifelong_rl.errors import UserError
from lifelong_rl.storage.array_file import ArrayFileError, ArrayFormat
from lifelong_rl.storage.atomic import WriteError
from lifelong_rl.storage.plain_file import NotPlainError

Arrays = Mapping[str, npt.NDArray[Any]]

_LOGGER = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """The folder that datasets are kept in, which need not exist; None to keep none."""
    chosen = os.environ.get("LIFELONG_RL_CACHE")
    if chosen is not None:
        return Path(os.path.expanduser(chosen)).absolute() if chosen else None
    parent = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # without a home "~" would be a folder in the working directory
    return Path(parent) / "lifelong_rl" if os.path.isabs(parent) else None


def get_dataset(description: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """The dataset of a description: from its file if that is good, or else made and kept.

    A file that is damaged or holds something else is replaced, and a dataset that cannot be kept
    is only made: neither stops a run.

    Args:
        description: JSON that decides the dataset to the last bit. Its "kind" is a plural noun,
            such as "demonstrations", its "task" the name of the task.
        make: Makes the dataset.

    Returns:
        The arrays by name.

    Raises:
        UserError: It cannot be made on this machine.
    """
    folder = cache_folder()
    if folder is None:
        return _made(description, make)
    kind = description["kind"]
    files = ArrayFormat(kind, 1, command="run", error=ArrayFileError)
    metadata = {key: value for key, value in description.items() if key != "kind"}
    path = folder / kind / file_name(description)
    if os.path.exists(path):
        try:
            arrays, there = files.load(path)
            if there != metadata:
                raise ArrayFileError(path, "holds another dataset than its name tells")
            return arrays
        except ArrayFileError as error:
            _LOGGER.warning("%s; it is made anew", error)
    arrays = dict(_made(description, make))
    try:
        files.save(path, arrays, metadata)
    except WriteError as error:
        _warn_once(f"datasets are not kept in {folder}: {getattr(error.__cause__, 'strerror', '')}")
    except NotPlainError as error:
        _warn_once(f"datasets are not kept in {folder}: {error}")
    return arrays


def file_name(description: Mapping[str, Any]) -> str:
    """The name of a dataset's file in the folder of its kind."""
    text = json.dumps(description, sort_keys=True)
    return f"{description['task']}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"


def _made(description: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    try:
        return make()
    except RuntimeError as error:  # such as no OpenGL context to render in
        raise UserError(
            f"the {description['kind']} of '{description['task']}' cannot be made: {error}"
        ) from error


@cache
def _warn_once(message: str) -> None:
    _LOGGER.warning(message)
