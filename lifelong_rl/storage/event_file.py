"""TensorBoard's event files, written at once.

TensorBoard's own writer does it in a thread, whose errors are printed there, with their traceback,
before anybody can act on them.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import summary

from lifelong_rl.storage.plain_file import open_plain, refuse_link


class EventFile:
    """A new file of events in a folder.

    Args:
        folder: Made if it is not there.
        purge_step: Readers discard what earlier files of the folder tell from this step on; None
            to discard nothing.

    Raises:
        NotPlainError: The folder is a link.
        OSError: The disk refused, here and in every method.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        refuse_link(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = _new_name(folder)
        self._file = os.fdopen(open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")
        self._writer: Any = RecordWriter(self._file)
        self._write(Event(file_version="brain.Event:2"))
        if purge_step is not None:
            started = SessionLog(status=SessionLog.START)
            self._write(Event(step=purge_step, session_log=started))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Add a number."""
        self.add_summary(_SUMMARY.scalar(name, value), step)

    def add_image(self, name: str, picture: np.ndarray, step: int) -> None:
        """Add a picture, (height, width, 3) of uint8."""
        self.add_summary(_SUMMARY.image(name, picture, dataformats="HWC"), step)

    def add_custom_scalars(self, layout: Mapping[str, Any]) -> None:
        """Add a layout of charts."""
        self.add_summary(_SUMMARY.custom_scalars(layout), 0)

    def add_summary(self, content: Any, step: int) -> None:
        """Add what a function of `torch.utils.tensorboard.summary` has made."""
        self._write(Event(summary=content, step=step))

    def flush(self) -> None:
        """Hand everything over to the system."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self._writer.write(event.SerializeToString())


_SUMMARY: Any = summary


def _new_name(folder: Path) -> Path:
    """Named by the second, machine and process, as TensorBoard names them."""
    made = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
    number = 0
    while (path := folder / f"{made}.{number}").exists():
        number += 1
    return path
