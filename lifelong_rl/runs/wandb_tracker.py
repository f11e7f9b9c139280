"""A tracker that writes for Weights & Biases, by default offline: `wandb sync` uploads it later."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lifelong_rl.errors import UserError
from lifelong_rl.runs.measurements import describe_run
from lifelong_rl.runs.reporters import Reporter
from lifelong_rl.storage.atomic import write_file, writing
from lifelong_rl.storage.plain_file import read_bytes, refuse_link

if TYPE_CHECKING:
    from lifelong_rl.runs.setup import Setup

PROJECT = "lifelong-rl"
"""Where runs are put unless WANDB_PROJECT says otherwise."""
ID = "id"
"""File in the folder `wandb` that tells the run to Weights & Biases, also where it was moved to."""


class WandbTracker(Reporter):
    """Logs what `metrics.jsonl` holds, and the pictures, into the folder `wandb` of a run.

    A run that goes on is the same run to Weights & Biases. Each value is given with the step that
    it belongs to, so that those that a killed run logs again stand where they stood.

    Raises:
        UserError: It is not installed.
    """

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                "--track wandb needs Weights & Biases: pip install 'lifelong-rl[wandb]'"
            ) from error
        self._wandb: Any = wandb
        self._run: Any = None

    def begin(self, setup: Setup, path: Path, tasks_done: int) -> None:
        """Begin, or go on."""
        refuse_link(path / "wandb")
        config = setup.config
        self._run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(path),
            id=_find_id(path),
            name=path.name,
            group=f"{config.sequence_name} {config.agent} {config.method}",
            mode=os.environ.get("WANDB_MODE", "offline"),
            resume="allow",
            config=describe_run(config),
            settings=self._wandb.Settings(silent=True, console="off", disable_git=True),
        )
        self._run.define_metric("*", step_metric="step")

    def logged(self, kind: str, step: int, task: str | None, values: Mapping[str, float]) -> None:
        """Log the values."""
        if self._run is not None:
            self._run.log({**values, "step": step})

    def pictured(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Log the pictures."""
        if self._run is not None:
            images = {name: self._wandb.Image(picture) for name, picture in pictures.items()}
            self._run.log({**images, "step": step})

    def end(self) -> None:
        """Write what is left."""
        if self._run is not None:
            self._run.finish()


def _find_id(path: Path) -> str:
    """The name of a run to Weights & Biases: made of its first folder, and kept in it."""
    kept = path / "wandb" / ID
    if kept.is_file():
        told = read_bytes(kept).decode(errors="replace")
        if re.fullmatch(r"[0-9a-f]{16}", told):
            return told
    made = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    with writing(kept):
        kept.parent.mkdir(exist_ok=True)
    write_file(kept, made.encode())
    return made
