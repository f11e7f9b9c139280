"""A folder with something of every kind that commands read, made anew for each input."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lifelong_rl.cli import main
from lifelong_rl.runs import installation
from lifelong_rl.storage import metrics_log, versions
from lifelong_rl.studies import cell
from lifelong_rl.studies.executors import local, process
from lifelong_rl.vision.frames import Frames, save_frames

TOY = ["--plugin", "toy_plugin", "--sequence", "toy3", "--agent", "toy"]
TINY = ["--num-envs", "1", "--eval-episodes", "1", "--eval-points", "1", "--quiet"]
REACH = ["--sequence", "reach", "--agent", "bc", "--agent-options", "hidden=[4]", "episodes=1"]
HANG_SECONDS = 600
"""No input here takes a hundredth of it on a machine that has nothing else to do."""

PLACES = {
    "runs/toy": [*TOY, "--steps-per-task", "10"],
    "runs/toy-ewc": [*TOY, "--steps-per-task", "10", "--method", "ewc"],
    "runs/toy-seed1": [*TOY, "--steps-per-task", "10", "--seed", "1"],
    "runs/bc": [*REACH, "--steps-per-task", "8"],
    "half/toy": [*TOY, "--steps-per-task", "10"],
    "half/bc": [*REACH, "--steps-per-task", "8", "--sequence", "reach,reach"],
}
"""Runs by folder; those in "half" were killed in their last task."""
FRAMES, FEW_FRAMES = "frames.npz", "few.npz"
PICTURES = "pictures"
ENCODER = "encoder"
FOREIGN = {
    "notes.txt": b"years of work\n",
    "empty.json": b"",
    "picture.npz": b"PK\x03\x04 something else",
    "outside/thesis": b"more years of work\n",
    "foreign/thesis.tex": b"x",
    "text.yaml": b"sequence: toy3\nagent: toy\nplugin: toy_plugin\n",
}


Content = bytes | str | None


@dataclass
class Outcome:
    """What came of a command line: an exit code, or the exception that left it."""

    exit_code: int | None
    out: str
    err: str
    raised: BaseException | None = None


class World:
    """The folder; `restore` puts back what an input changed.

    Args:
        path: Where to make it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        _fill(path)
        self._original = self.scan()

    def restore(self) -> None:
        """Put everything back as it was."""
        here = self.scan()
        for name in sorted(
            here.keys() - self._original.keys() | self._differing(here), reverse=True
        ):
            path = self.path / name
            if name not in here:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for name, content in sorted(self._original.items()):
            path = self.path / name
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
            elif here.get(name, "") != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def _differing(self, here: dict[str, Content]) -> set[str]:
        return {name for name, content in self._original.items() if here.get(name, "") != content}

    def scan(self) -> dict[str, Content]:
        """Everything by its path: bytes of a file, None for a folder, else what it is in words."""
        return _scan(self.path)

    def do(self, words: list[str]) -> Outcome:
        """A command line, in this process."""
        out, err = io.StringIO(), io.StringIO()

        def stop(number: int, frame: object) -> None:
            raise TimeoutError("it hangs")

        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(HANG_SECONDS)
        code, raised = None, None
        try:
            with (
                contextlib.chdir(self.path),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("default")  # as a user sees them
                code = main(words)
        except SystemExit as error:  # of --help
            code, raised = (0, None) if error.code in (0, None) else (None, error)
        except BaseException as error:
            raised = error
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        return Outcome(code, out.getvalue(), err.getvalue(), raised)


@contextmanager
def in_one_process() -> Iterator[None]:
    """Let cells of sweeps run here, and nothing wait for the disk or the clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(metrics_log, "wait_for_next_name", lambda events: None)
        patch.setattr(local.LocalExecutor, "poll_seconds", 0.0)
        processes = SimpleNamespace(Popen=_Cell, PIPE=None, DEVNULL=None)
        patch.setattr(process, "subprocess", processes)
        patch.setattr(cell, "_end_with_sweep", lambda: None)
        patch.setattr(versions, "version", cache(versions.version))
        patch.setattr(installation, "check_rendering", cache(installation.check_rendering))
        yield


class _Cell:
    """In place of a cell's process: has run it when it is made."""

    def __init__(self, arguments: list[str], **_: Any) -> None:
        err = io.StringIO()
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
            self._code = cell.main(arguments[arguments.index("lifelong_rl.studies.cell") + 1 :])
        reader, writer = os.pipe()
        os.write(writer, err.getvalue().encode(errors="replace")[-4096:])
        os.close(writer)
        self.stderr = os.fdopen(reader, "rb", buffering=0)
        self.stdin = open(os.devnull, "wb")  # noqa: SIM115

    def poll(self) -> int:
        return self._code


def _fill(template: Path) -> None:
    for name, content in FOREIGN.items():
        (template / name).parent.mkdir(exist_ok=True)
        (template / name).write_bytes(content)
    (template / "empty").mkdir()
    lines = [["run", *words, *TINY, "--run-dir", path] for path, words in PLACES.items()]
    frames = ["frames", "--sequence", "reach", "--policy", "expert", "--size", "16"]
    save_frames(template / FRAMES, _make_frames())
    _make_pictures(template / PICTURES)
    lines += [
        ["demos", "--task", "reach", "--episodes", "1", "--out", "demos.npz"],
        [*frames, "--count", "10", "--out", FEW_FRAMES],
        ["pretrain", "--frames", FRAMES, "--steps", "1", "--batch-size", "2", "--out", ENCODER],
    ]
    with contextlib.chdir(template), contextlib.redirect_stdout(io.StringIO()) as told:
        for line in lines:
            if main(line) != 0:
                print(told.getvalue(), file=sys.stderr)
                raise AssertionError(f"cannot be made: {line}")
    for half in (template / "half").iterdir():
        last = max((half / "checkpoints").iterdir())
        shutil.rmtree(last)
        (half / "results.json").unlink()
        (half / "status.json").write_text('{"status": "running", "message": ""}')
    for events in template.rglob("events.out*"):
        events.unlink()  # large, and nothing reads them


def _make_pictures(folder: Path) -> None:
    """Two episodes of two pictures each."""
    for episode in ("1", "2"):
        (folder / episode).mkdir(parents=True)
        for moment in range(2):
            shown = np.full((12, 16, 3), 40 * moment, np.uint8)
            Image.fromarray(shown).save(folder / episode / f"{moment}.png")


def _make_frames(episodes: int = 12, steps: int = 10, size: int = 32) -> Frames:
    """Noise, of two tasks and two policies."""
    rng, n = np.random.default_rng(0), episodes * steps
    which = np.repeat(np.arange(episodes), steps)
    return Frames(
        images=rng.integers(0, 256, (n, 1, 3, size, size), dtype=np.uint8),
        episodes=which,
        steps=np.tile(np.arange(steps), episodes),
        tasks=2 * which // episodes,
        policies=which % 2,
        labels={
            name: rng.normal(size=(n, width)).astype(np.float32)
            for name, width in (("hand", 3), ("object", 3), ("joints", 4), ("action", 4))
        },
        metadata={
            "tasks": ["reach", "push"],
            "cameras": ["front"],
            "policies": ["expert", "random"],
        },
    )


def _scan(root: Path) -> dict[str, Content]:
    found: dict[str, Content] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            place = os.path.relpath(path, root)
            if os.path.islink(path):
                found[place] = f"a link to {os.readlink(path)}"
            elif os.path.isdir(path):
                found[place] = None
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[place] = file.read()
            else:
                found[place] = "a pipe or device"
    return found
