"""The process of one cell of a sweep.

    python -m lifelong_rl.studies.cell [--plugin MODULE] [--device DEVICE] RUN_DIR

It runs or resumes the run in a folder, and ends when the sweep does, however that ended.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path

from lifelong_rl.errors import UserError, no_exit
from lifelong_rl.runs.endings import RunFailed, RunStopped
from lifelong_rl.runs.loop import run_to_end
from lifelong_rl.runs.reporters import Reporter
from lifelong_rl.runs.restore import finished_results, open_loop
from lifelong_rl.runs.run_folder import RunFolder

STOP = "stop"
"""File in the folder of a cell that somebody who has no more use for it puts there."""
LOOK_SECONDS = 1.0
"""Between two looks for it while a task is learned."""


def run_cell(path: Path, plugins: Collection[str], device: str | None = None) -> int:
    """Run or resume, and return the exit code.

    What goes wrong is told on stderr with its traceback; the last line says it in short.

    Args:
        path: Folder of the run.
        plugins: Modules to import first, see `lifelong_rl.runs.setup.prepare`.
        device: To learn on; by default that of the run.
    """
    threading.Thread(target=_end_with_sweep, daemon=True).start()
    try:
        folder = RunFolder.open(path)
        folder.lock()
        try:
            if not finished_results(folder):
                with no_exit():
                    loop = open_loop(folder, plugins=plugins, device=device)
                    run_to_end(loop, folder, StoppingReporter(path))
        finally:
            folder.unlock()
        return 0
    except Exception as error:
        traceback.print_exc()
        expected = isinstance(error, (UserError, RunFailed, RunStopped))
        message = str(error) if expected else f"{type(error).__name__}: {error}"
        print(" ".join(message.split()), file=sys.stderr)
        return error.exit_code if isinstance(error, RunStopped) else 1


class StoppingReporter(Reporter):
    """Stops a run whose folder has a file `STOP`, as SIGTERM does.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self._file = path / STOP
        self._looked = time.monotonic()

    def step(self, task_id: int, steps: int) -> None:
        """Look, once in a while."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._look()

    def row(self, tasks_done: int, success: list[float]) -> None:
        """Look."""
        self._look()

    def _look(self) -> None:
        if self._file.exists():
            os.kill(os.getpid(), signal.SIGTERM)


def _end_with_sweep() -> None:
    """End this process once the other end of stdin, which only the sweep holds, is closed."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def main(arguments: Sequence[str]) -> int:
    """Run the cell that the arguments name, and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--plugin", action="append", default=[])
    parser.add_argument("--device")
    parser.add_argument("run_dir", type=Path)
    given = parser.parse_args(arguments)
    return run_cell(given.run_dir, given.plugin, given.device)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
