"""A JSON file of results by name that grows, and that a second call goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifelong_rl.errors import UserError
from lifelong_rl.storage.atomic import write_json, writing
from lifelong_rl.storage.json_file import read_json


class ResultsFile:
    """Results that were all made alike.

    Args:
        path: The file, new or written before; None to write none.
        settings: How the results are made, as JSON.

    Attributes:
        results: By name, those of the file at first.

    Raises:
        UserError: The file holds something else, or results that were made otherwise.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self._path, self._settings = path, dict(settings)
        self.results: dict[str, Any] = {}
        if path is None or not path.exists():
            return
        try:
            content = read_json(path, {"results": dict})
        except UserError as error:
            raise UserError(f"{error}; choose another file") from error
        self.results = content["results"]
        for key, value in self._settings.items():
            if content.get(key) != value:
                raise UserError(
                    f"{path} was made otherwise ({key}: {content.get(key)}, not {value}); "
                    "choose another file"
                )

    def write(self, **more: Any) -> None:
        """Write the file anew: settings, results and whatever else there is to tell."""
        if self._path is None:
            return
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {**self._settings, **more, "results": self.results})
