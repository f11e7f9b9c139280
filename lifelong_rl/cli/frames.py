"""`lifelong-rl frames`: collect pictures of robots at work, or read one's own, to learn to see."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lifelong_rl.cli.options import Command, OptionalPath, Repeated
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import Seed, Threads

if TYPE_CHECKING:
    from lifelong_rl.vision.frames import Frames as FramesOfTasks
    from lifelong_rl.vision.recordings import Recordings

FOLDER = Path("frames")
ENDING = ".npz"
MIXED = "mixed"
FRONT = ("front",)
OF_TASKS = ("sequence", "policy", "count", "seed", "num_threads", "plugin")
"""Options that say what to make, and mean nothing where pictures are read."""
FEW_EPISODES = 5
"""That pretraining and probes need, to learn from some and judge on others."""


@dataclass(frozen=True, kw_only=True)
class Frames(Command):
    """Collect frames of a sequence's tasks, with the state each shows, for learning to see.

    Frames are of whole episodes, every control step, evenly spread over tasks and policies. A file
    that already holds what is asked for stays as it is.

    With --from, frames are read from a folder: of each episode there a folder of pictures (PNG,
    JPEG), a film (GIF, MP4), or a folder with one of these for each camera.

    Attributes:
        recordings: Read pictures and films from this folder.
        sequence: Whose tasks to look at.
        policy: Who acts: expert, random, noisy (a disturbed expert), or mixed, which is all three.
        count: How many frames.
        cameras: Cameras of the tasks, such as front and across; every frame is seen by all. By
            default front; with --from all there are.
        size: Width and height of an image, in pixels; pictures that are read are cut to the square
            in their middle and resized.
        out: The file, which ends in .npz; by default frames/SEQUENCE-POLICY-COUNT-seedN.npz, with
            --from frames/FOLDER.npz.
        seed: Decides the episodes.
        overwrite: Replace a file that holds other frames.
        num_threads: Threads that step the physics; the frames do not depend on them.
        plugin: Module to import first; it may register tasks, experts and sequences.
    """

    recordings: Annotated[Path | None, tyro.conf.arg(name="from", metavar="FOLDER")] = None
    sequence: str = "arm10"
    policy: str = MIXED
    count: int = 20_000
    cameras: tuple[str, ...] = ()
    size: int = 64
    out: OptionalPath = None
    seed: Seed = 0
    overwrite: bool = False
    num_threads: Threads = 2
    plugin: Repeated = ()

    def __call__(self) -> int:
        """Collect, with a line for each task, or say that they are there already."""
        from lifelong_rl.registry import load_plugins
        from lifelong_rl.vision.frames import save_frames

        load_plugins(self.plugin)
        path = self._path()
        found = None if self.recordings is None else self._find(self.recordings)
        request = self._request() if found is None else self._describe(found)
        if path.exists() and self._is_there(path, request):
            return 0
        started = perf_counter()
        frames = self._collect(request) if found is None else self._read(found)
        save_frames(path, frames)
        episodes = len(set(frames.episodes.tolist()))
        print(
            f"{len(frames.images)} frames of {episodes} episodes  "
            f"{path}  {path.stat().st_size / 1e6:.1f} MB  {perf_counter() - started:.1f} s"
        )
        if found is not None and episodes < FEW_EPISODES:
            print(f"too few for pretrain and probe, which need {FEW_EPISODES} episodes")
        return 0

    def _find(self, folder: Path) -> Recordings:
        """What there is to read, after checking that nothing else is asked for."""
        from lifelong_rl.vision.recordings import find_recordings

        for field in fields(self):
            if field.name in OF_TASKS and getattr(self, field.name) != field.default:
                option = field.name.replace("_", "-")
                raise UserError(f"--from reads what is there; leave out --{option}")
        return find_recordings(folder, self.cameras, _tell_skipped)

    def _describe(self, found: Recordings) -> dict[str, Any]:
        """What tells the frames that are read from others."""
        from lifelong_rl.vision.recordings import describe

        self._check_pixels(found.cameras)
        return describe(found, self.size)

    def _read(self, found: Recordings) -> FramesOfTasks:
        from lifelong_rl.storage.versions import versions
        from lifelong_rl.vision.recordings import read_recordings

        frames = read_recordings(found, self.size, _tell_skipped)
        return replace(frames, metadata={**frames.metadata, "versions": versions()})

    def _check_pixels(self, cameras: tuple[str, ...]) -> None:
        from lifelong_rl.envs.pixels import Pixels

        try:
            Pixels(cameras, self.size)
        except ValueError as error:
            raise UserError(str(error)) from error

    def _request(self) -> dict[str, Any]:
        """What tells these frames from others, after checking that it can be had."""
        from lifelong_rl.envs.experts import get_expert
        from lifelong_rl.envs.frames import POLICIES
        from lifelong_rl.envs.tasks import TASKS
        from lifelong_rl.runs.sequence import load_sequence
        from lifelong_rl.storage.versions import installed

        if self.policy not in (*POLICIES, MIXED):
            raise UnknownNameError("policy", self.policy, (*POLICIES, MIXED), see="")
        policies = list(POLICIES) if self.policy == MIXED else [self.policy]
        tasks = list(dict.fromkeys(load_sequence(self.sequence).tasks))
        cameras = self.cameras or FRONT
        self._check_pixels(cameras)
        for task in tasks:
            if task not in TASKS:
                raise UserError(f"the task '{task}' of '{self.sequence}' has no cameras")
            for camera in cameras:
                if camera not in TASKS[task].cameras:
                    raise UnknownNameError("camera", camera, TASKS[task].cameras, see="")
            if policies != ["random"]:
                try:
                    get_expert(task)
                except ValueError as error:
                    raise UserError(str(error)) from error
        if self.count < len(tasks) * len(policies):
            raise UserError(
                f"count must be at least {len(tasks) * len(policies)}, a frame of each task and "
                f"policy, not {self.count}"
            )
        return {
            "tasks": tasks,
            "task_versions": [TASKS[task].revision() for task in tasks],
            "policies": policies,
            "count": self.count,
            "cameras": list(cameras),
            "size": self.size,
            "seed": self.seed,
            "mujoco": installed("mujoco"),
        }

    def _path(self) -> Path:
        if self.out is None and self.recordings is not None:
            return FOLDER / (self.recordings.resolve().name + ENDING)
        if self.out is None:
            name = f"{self.sequence}-{self.policy}-{self.count}-seed{self.seed}"
            return FOLDER / (name.replace(",", "+") + ENDING)
        if self.out.suffix != ENDING or self.out.is_dir():
            raise UserError(f"{self.out} is no name for a file of frames; it must end in {ENDING}")
        return self.out

    def _is_there(self, path: Path, request: dict[str, Any]) -> bool:
        """Whether a file holds what is asked for; if it may not be replaced, it has to."""
        from lifelong_rl.vision.frames import FramesError, load_frames

        try:
            found = load_frames(path)
        except FramesError:
            if self.overwrite:
                return False
            raise
        differing = [name for name in request if found.metadata.get(name) != request[name]]
        if not differing:
            print(f"{path} holds these {len(found.images)} frames already")
            return True
        if self.overwrite:
            return False
        name = differing[0]
        raise UserError(
            f"{path} holds other frames ({name}: {found.metadata.get(name)}, not {request[name]}); "
            "add --overwrite, or choose another --out"
        )

    def _collect(self, request: dict[str, Any]) -> FramesOfTasks:
        """Let every policy act in every task, and tell of each task."""
        from lifelong_rl.envs.frames import collect_parts
        from lifelong_rl.envs.rendering import RenderingError
        from lifelong_rl.storage.versions import versions
        from lifelong_rl.vision.frames import join

        tasks, policies = request["tasks"], request["policies"]
        parts = []
        started = perf_counter()
        try:
            for part in collect_parts(
                tasks,
                policies,
                count=self.count,
                cameras=request["cameras"],
                size=self.size,
                seed=self.seed,
                num_threads=self.num_threads,
            ):
                parts.append(part)
                task, policy = divmod(len(parts) - 1, len(policies))
                if policy == len(policies) - 1:
                    done = sum(len(one.steps) for one in parts)
                    print(
                        f"[{task + 1}/{len(tasks)}] {tasks[task]}  {done} of {self.count} frames  "
                        f"{done / (perf_counter() - started):.0f} frames/s",
                        flush=True,
                    )
        except RenderingError as error:
            raise UserError(str(error)) from error
        return join(parts, {**request, "versions": versions()})


def _tell_skipped(line: str) -> None:
    print(f"skipped {line}", flush=True)
