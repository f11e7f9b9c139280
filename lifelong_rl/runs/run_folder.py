"""The folder of a run: what is in it, who may write to it, and how it is found again."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.former_options import update_fields
from lifelong_rl.runs.config import RunConfig, flatten, read_config, tell_differences
from lifelong_rl.storage.atomic import (
    TEMPORARY,
    WriteError,
    format_json,
    remove_folder,
    remove_temporary,
    write_file,
    write_in_place,
    write_json,
    writing,
)
from lifelong_rl.storage.json_file import Name, Shape, read_json
from lifelong_rl.storage.lock import FolderLock, is_lock_file, lock_folder
from lifelong_rl.storage.plain_file import refuse_link
from lifelong_rl.storage.versions import describe_session, find_changes, versions
from lifelong_rl.storage.yaml_file import dump_yaml

CHECKPOINT = re.compile(r"task-(\d+)(?:-step-(\d+))?")
"""Names of checkpoints: the tasks that are done, and of one within a task its steps."""
State = Literal["running", "finished", "failed", "interrupted"]
STATUS: Shape = {"status": str, "message": str}
"""Shape of `status.json`."""
MANIFEST: Shape = {"sessions": [dict]}
"""Shape of `manifest.json`."""
RESULTS: Shape = {
    "sequence": Name,
    "tasks": [Name],
    "task_versions": {str: Name},
    "agent": Name,
    "agent_options": dict,
    "method": Name,
    "method_options": dict,
    "seed": int,
    "performance_matrix": [[float]],
    "success_curves": {str: {"steps": [float], "success": [float]}},
    "metrics": {
        "average_performance": float | None,
        "learned_performance": float | None,
        "forgetting": float | None,
        "backward_transfer": float | None,
        "forward_transfer": float | None,
        "retention": float | None,
    },
    "cost": {
        "parameters": int,
        "memory_bytes": int,
        "seconds_per_task": [{"task": str, "learn": float}],
        "seconds": float,
    },
    "budget": {str: int},
    "diverged": {str: int},
    "versions": {str: str | None},
}
"""Shape of `results.json`: what all versions have written, and is read."""


class RunFolder:
    """A folder that holds one run; see `create` and `open`.

    Attributes:
        path: The folder.
        config: What the run is.
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config
        self._lock: FolderLock | None = None

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> RunFolder:
        """Make the folder of a new run, and lock it.

        Raises:
            UserError: Something is there already; it stays as it is.
        """
        _refuse_occupied(path, config)
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, config)
        folder.lock()
        try:
            _refuse_occupied(path, config)  # another process may have been faster
            write_file(path / "config.yaml", dump_yaml(config.as_dict()).encode())
        except BaseException:
            folder.unlock()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The run in a folder.

        Raises:
            UserError: There is none.
        """
        if not (path / "config.yaml").is_file():
            raise UserError(
                f"{path} holds no run (no config.yaml)"
                if path.is_dir()
                else f"there is no folder {path}"
            )
        fields = update_fields(read_config(path / "config.yaml"), complete=True)
        return cls(path, RunConfig(**fields))

    def command(self, name: str, *words: str) -> str:
        """A command about this run that can be copied into a shell; it names the plug-ins."""
        plugins = [word for module in self.config.plugin for word in ("--plugin", module)]
        return shlex.join(["lifelong-rl", name, str(self.path), *words, *plugins])

    def lock(self) -> None:
        """Keep other processes from writing to the folder while this one lives.

        Raises:
            UserError: Another process does, or its checkpoints are a link.
        """
        self._lock = lock_folder(self.path)
        try:
            refuse_link(self.checkpoints)
            remove_temporary(self.path)
            refuse_link(self.segments)
            for folder in (self.checkpoints, self.segments):
                if folder.is_dir():
                    remove_temporary(folder)
        except BaseException:
            self.unlock()
            raise

    def unlock(self) -> None:
        """Let others write to the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def check_claim(self) -> None:
        """Make sure, before something is written, that no other process has the folder.

        Raises:
            WriteError: One has taken it over from this process, which had locked it.
        """
        if self._lock is not None:
            self._lock.check()

    @property
    def checkpoints(self) -> Path:
        """Holds a folder for each checkpoint: "task-000", before training, "task-001" and so on.

        One within a task is called "task-001-step-000004096".
        """
        return self.path / "checkpoints"

    @property
    def segments(self) -> Path:
        """What the checkpoint within a task needs beside its own folder, see `Segments`."""
        return self.checkpoints / "experience"

    @property
    def metrics(self) -> Path:
        """One JSON object per line; only ever appended to."""
        return self.path / "metrics.jsonl"

    def checkpoint(self, tasks_done: int) -> Path:
        """Folder of the checkpoint after so many tasks."""
        return self.checkpoints / f"task-{tasks_done:03d}"

    def checkpoint_within(self, tasks_done: int, step: int) -> Path:
        """Folder of the checkpoint after so many tasks and so many steps of the next."""
        return self.checkpoints / f"task-{tasks_done:03d}-step-{step:09d}"

    def checkpoint_names(self) -> list[str]:
        """Names of the checkpoints that are there, earliest first."""
        if not self.checkpoints.is_dir():
            return []
        return sorted(
            entry.name
            for entry in self.checkpoints.iterdir()
            if entry.name.startswith("task-") and not entry.name.endswith(TEMPORARY)
        )

    def names_at_task_ends(self) -> list[str]:
        """Those of them that are not within a task."""
        return [name for name in self.checkpoint_names() if not is_within_task(name)]

    def remove_within(self, keep: str | None = None) -> None:
        """Remove the checkpoints within tasks but the one called `keep`."""
        for name in self.checkpoint_names():
            if is_within_task(name) and name != keep:
                remove_folder(self.checkpoints / name)

    def find_checkpoint(self, name: str) -> Path:
        """Folder of the checkpoint called `name`.

        Raises:
            UnknownNameError: It is not there.
        """
        names = self.checkpoint_names()
        if name not in names:
            raise UnknownNameError("checkpoint", name, names, see=str(self.checkpoints))
        return self.checkpoints / name

    def rewind(self, name: str) -> None:
        """Make the checkpoint called `name` the last: remove later ones, and the results.

        Raises:
            UnknownNameError: It is not there; nothing is removed then.
        """
        self.find_checkpoint(name)
        self.check_claim()
        self.write_status("running", f"going back to {name}")
        with writing(self.path):
            (self.path / "results.json").unlink(missing_ok=True)
        for later in reversed(self.checkpoint_names()):
            if later > name:
                remove_folder(self.checkpoints / later)

    def status(self) -> dict[str, Any]:
        """What `status.json` says; empty if the run was killed before it was written.

        Raises:
            UserError: It is damaged.
        """
        return self._read_json("status.json", STATUS)

    def write_status(self, state: State, message: str = "") -> None:
        """Say how the run is doing, also on a disk that is full.

        Raises:
            WriteError: The disk refused, also to change what is there already; or the folder was
                lost, see `check_claim`.
        """
        self.check_claim()
        path = self.path / "status.json"
        content = {"status": state, "message": message, "pid": os.getpid()}
        try:
            write_json(path, content)
        except WriteError:
            if state == "running":
                raise
            write_in_place(path, format_json(content))

    def results(self) -> dict[str, Any]:
        """What `results.json` says, in the shape `RESULTS`; empty unless the run has finished.

        Raises:
            UserError: It is damaged.
        """
        return self._read_json("results.json", RESULTS)

    def write_results(self, results: dict[str, Any]) -> None:
        """Write `results.json`."""
        self.check_claim()
        write_json(self.path / "results.json", results)

    def add_session(self, facts: dict[str, Any], device: str, notes: Sequence[str] = ()) -> None:
        """Add this process to the `sessions` of `manifest.json`, and `facts` about the run.

        Args:
            facts: As JSON.
            device: What it learns on, see `lifelong_rl.learning.devices.describe_device`.
            notes: What should be known of this process's part of the run.
        """
        session = {**describe_session(), "device": device}
        if notes:
            session["notes"] = list(notes)
        self.check_claim()
        write_json(self.path / "manifest.json", {**facts, "sessions": [*self.sessions(), session]})

    def note_changes(self, device: str) -> list[str]:
        """Say that the run goes on under other versions or on another device than before.

        Args:
            device: What this process learns on, as for `add_session`.

        Returns:
            A line for each; none if all is as in the last process.

        Raises:
            UserError: The manifest is damaged.
        """
        sessions = self.sessions()
        if not sessions:
            return []
        notes = []
        end = "its numbers may not be those of a run that was never stopped"
        changes = find_changes(versions_of(sessions[-1]), versions())
        if changes:
            notes.append(f"the run goes on under other versions: {', '.join(changes)}; {end}")
        before = sessions[-1].get("device", "cpu")  # earlier versions knew no other
        if before != device:
            notes.append(f"the run goes on on another device: {before} → {device}; {end}")
        return notes

    def sessions(self) -> list[dict[str, Any]]:
        """The processes that made the run, as `manifest.json` tells of them.

        Raises:
            UserError: It is damaged.
        """
        sessions: list[dict[str, Any]] = self._read_json("manifest.json", MANIFEST).get(
            "sessions", []
        )
        return sessions

    def _read_json(self, name: str, shape: Shape) -> dict[str, Any]:
        try:
            content: dict[str, Any] = read_json(self.path / name, shape)
        except FileNotFoundError:
            return {}
        return content


def is_within_task(name: str) -> bool:
    """Whether a checkpoint of this name is one within a task."""
    found = CHECKPOINT.fullmatch(name)
    return found is not None and found[2] is not None


def versions_of(session: Mapping[str, Any]) -> dict[str, Any]:
    """What a session of a manifest says that it ran with, by package; nothing if it does not."""
    found = session.get("versions")
    return found if isinstance(found, dict) else {}


def notes_of(session: Mapping[str, Any]) -> list[str]:
    """What should be known of a session of a manifest, a line each."""
    found = session.get("notes")
    return [str(note) for note in found] if isinstance(found, list) else []


def _refuse_occupied(path: Path, config: RunConfig) -> None:
    """Raise UserError if a new run in `path` would touch something that is there already."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; choose another --run-dir")
    if not path.is_dir():
        return
    if not (path / "config.yaml").is_file():
        left = ("config.yaml" + TEMPORARY,)  # by a process that was killed at once
        if any(entry.name not in left and not is_lock_file(entry.name) for entry in path.iterdir()):
            raise UserError(f"{path} is not empty and holds no run; choose another --run-dir")
        return
    there = RunFolder.open(path)
    problem = tell_differences(flatten(there.config), flatten(config))
    if problem:
        raise UserError(f"{path} holds another run ({problem}); choose another --run-dir")
    if there.results():
        raise UserError(
            f"{path} holds this run, finished; see it with: {there.command('eval')}, "
            "or choose another --run-dir"
        )
    raise UserError(
        f"{path} holds this run, unfinished; go on with: {there.command('resume')}, "
        "or choose another --run-dir"
    )
