"""The course of a run: `metrics.jsonl`, and TensorBoard events with the same numbers."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import summary

from lifelong_rl.errors import UserError
from lifelong_rl.storage.atomic import writing
from lifelong_rl.storage.event_file import EventFile
from lifelong_rl.storage.plain_file import open_plain, refuse_link

LAYOUT = {
    "forgetting": {
        "success on each task": ["success/.*"],
        "average performance": ["average_performance", "so_far/average_performance"],
        "forgetting": ["so_far/forgetting.*"],
        "transfer": ["so_far/.*_transfer"],
        "retention": ["so_far/retention"],
        "return on each task": ["return/.*"],
    },
    "why it forgets": {
        "interference: cosine of the gradients of old tasks": [
            "diagnostics/.*/gradient_cosine/.*",
        ],
        "plasticity: dormant units": ["diagnostics/.*/dormant_units"],
        # earlier versions logged srank as effective_rank
        "plasticity: srank": ["diagnostics/.*/srank", "diagnostics/.*/effective_rank"],
        "norms of the weights": ["diagnostics/.*/weight_norm"],
        "norms of the gradients": ["diagnostics/.*/gradient_norm"],
    },
    "why it stops learning": {
        "dormant units of each layer": ["diagnostics/.*/dormant_units/.*"],
        "magnitude of each layer's weights": ["diagnostics/.*/weight_magnitude/.*"],
        "stable rank of each layer's weights": ["diagnostics/.*/stable_rank/.*"],
        "norm of each layer's gradient": ["diagnostics/.*/gradient_norm/.*"],
        "churn": ["diagnostics/.*/churn"],
        "curvature": ["diagnostics/.*/curvature"],
        "directions of curvature": ["diagnostics/.*/curvature_rank"],
    },
    "training and cost": {
        "losses": ["train/.*loss.*"],
        "steps per second": ["train/steps_per_second"],
        "parameters": ["cost/parameters"],
        "memory of old tasks, in bytes": ["cost/memory_bytes"],
    },
}
"""TensorBoard's custom scalars: for each group its charts, and the tags that each shows."""


class MetricsLog:
    """Appends to `metrics.jsonl`, and to TensorBoard under the same names.

    Each line is an object with "type", "step" (over all tasks), "task" (which is being learned;
    None before the first) and "values", whose names are the TensorBoard tags.

    Args:
        path: `metrics.jsonl`.
        events: Folder of the TensorBoard events; None for none.
        keep: Bytes of `path` to keep; what a killed run has written after them is cut off.
        keep_step: TensorBoard events after this step are discarded by its readers; -1 for all.
        check: Is called before each write, and may refuse it.

    Raises:
        UserError: `path` is shorter than `keep`, or one of the two is a link.
    """

    def __init__(
        self,
        path: Path,
        events: Path | None,
        *,
        keep: int,
        keep_step: int,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._path, self._folder, self._check = path, events or path, check
        refuse_cut_off(path, keep)
        if events is not None:
            refuse_link(events)
        with writing(path):
            descriptor = open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self._file = os.fdopen(descriptor, "ab")
            self._file.truncate(keep)
        self._events: EventFile | None = None
        if events is None:
            return
        resumed = events.exists()
        wait_for_next_name(events)
        with writing(events):
            self._events = EventFile(events, purge_step=keep_step + 1 if resumed else None)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def write(self, kind: str, step: int, task: str | None, values: Mapping[str, float]) -> None:
        """Append one line, and one TensorBoard scalar for each value.

        A value that is not finite is null in the file.
        """
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        line = json.dumps({"type": kind, "step": step, "task": task, "values": finite})
        self._check()
        with writing(self._path):
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        if self._events is None:
            return
        with writing(self._folder):
            for name, value in values.items():
                self._events.add_scalar(name, value, step)
            self._events.flush()

    def describe(self, facts: Mapping[str, bool | float | str]) -> None:
        """Tell TensorBoard what the run is, and how to lay out its charts; once for a run.

        Args:
            facts: What the tab HPARAMS tells about the run; numbers stay numbers. The tab has a
                column for each fact of any run, as none of them says what the columns are.
        """
        if self._events is None:
            return
        self._check()
        with writing(self._folder):
            charts = {
                title: {name: ["Multiline", tags] for name, tags in group.items()}
                for title, group in LAYOUT.items()
            }
            self._events.add_custom_scalars(charts)
            make_hparams: Any = summary.hparams
            _, session_start, _ = make_hparams(dict(facts), {})
            self._events.add_summary(session_start, 0)

    def show(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Add pictures, (height, width, 3) of uint8, to TensorBoard's images."""
        if self._events is None:
            return
        self._check()
        with writing(self._folder):
            for name, picture in pictures.items():
                self._events.add_image(name, picture, step)

    def sync(self) -> None:
        """Bring all that was written onto the disk."""
        with writing(self._path):
            os.fsync(self._file.fileno())
        if self._events is not None:
            with writing(self._folder):
                self._events.flush()

    def close(self) -> None:
        """Close both files, whatever becomes of what they have buffered."""
        try:
            with writing(self._path):
                self._file.close()
        finally:
            if self._events is not None:
                with writing(self._folder):
                    self._events.close()


def refuse_cut_off(path: Path, keep: int) -> None:
    """Raise UserError if `path` is shorter than the `keep` bytes that a checkpoint counts on.

    So too if it cannot be appended to.
    """
    found = 0
    if path.exists():
        with writing(path), open(open_plain(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
            found = file.tell()
    if found < keep:
        raise UserError(
            f"{path} has {found} bytes, but the checkpoint was made when it had {keep}; "
            "put the whole file back"
        )


def write_image(folder: Path, name: str, picture: np.ndarray, step: int) -> None:
    """Add one picture to TensorBoard's images, in a folder that no `MetricsLog` writes to.

    Of several event files in one folder, TensorBoard follows the newest, and a run that goes on
    would seem to stand still.

    Args:
        folder: Of the events, in that of a run's.
        name: Of the picture.
        picture: (height, width, 3) uint8.
        step: Environment steps that were learned.

    Raises:
        NotPlainError: One of the two folders is a link.
        WriteError: The disk refused.
    """
    refuse_link(folder.parent)
    with writing(folder), closing(EventFile(folder)) as events:
        events.add_image(name, picture, step)


def wait_for_next_name(events: Path) -> None:
    """Wait while an event file made now would be called as one that is there: at most a second.

    TensorBoard reads event files in the order of their names, which hold the second they were
    made in, and it discards what an earlier file says after the step a later one begins at.
    """
    while any(events.glob(f"events.out.tfevents.{int(time.time())}.*")):
        time.sleep(0.02)
