"""`lifelong-rl frames`: collect pictures of robots at work, for learning to see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lifelong_rl.cli.options import Command, OptionalPath, Repeated
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import Seed, Threads

if TYPE_CHECKING:
    from lifelong_rl.vision.frames import Frames as FramesOfTasks

FOLDER = Path("frames")
ENDING = ".npz"
MIXED = "mixed"


@dataclass(frozen=True, kw_only=True)
class Frames(Command):
    """Collect frames of a sequence's tasks, with the state each shows, for learning to see.

    Frames are of whole episodes, every control step, evenly spread over tasks and policies. A file
    that already holds what is asked for stays as it is.

    Attributes:
        sequence: Whose tasks to look at.
        policy: Who acts: expert, random, noisy (a disturbed expert), or mixed, which is all three.
        count: How many frames.
        cameras: Cameras of the tasks, such as front and across; every frame is seen by all.
        size: Width and height of an image, in pixels.
        out: The file, which ends in .npz; by default frames/SEQUENCE-POLICY-COUNT-seedN.npz.
        seed: Decides the episodes.
        overwrite: Replace a file that holds other frames.
        num_threads: Threads that step the physics; the frames do not depend on them.
        plugin: Module to import first; it may register tasks, experts and sequences.
    """

    sequence: str = "arm10"
    policy: str = MIXED
    count: int = 20_000
    cameras: tuple[str, ...] = ("front",)
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
        request = self._request()
        path = self._path()
        if path.exists() and self._is_there(path, request):
            return 0
        started = perf_counter()
        frames = self._collect(request)
        save_frames(path, frames)
        print(
            f"{len(frames.images)} frames of {len(set(frames.episodes.tolist()))} episodes  "
            f"{path}  {path.stat().st_size / 1e6:.1f} MB  {perf_counter() - started:.1f} s"
        )
        return 0

    def _request(self) -> dict[str, Any]:
        """What tells these frames from others, after checking that it can be had."""
        from lifelong_rl.envs.experts import get_expert
        from lifelong_rl.envs.frames import POLICIES
        from lifelong_rl.envs.pixels import Pixels
        from lifelong_rl.envs.tasks import TASKS
        from lifelong_rl.runs.sequence import load_sequence
        from lifelong_rl.storage.versions import installed

        if self.policy not in (*POLICIES, MIXED):
            raise UnknownNameError("policy", self.policy, (*POLICIES, MIXED), see="")
        policies = list(POLICIES) if self.policy == MIXED else [self.policy]
        tasks = list(dict.fromkeys(load_sequence(self.sequence).tasks))
        try:
            Pixels(self.cameras, self.size)
        except ValueError as error:
            raise UserError(str(error)) from error
        for task in tasks:
            if task not in TASKS:
                raise UserError(f"the task '{task}' of '{self.sequence}' has no cameras")
            for camera in self.cameras:
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
            "cameras": list(self.cameras),
            "size": self.size,
            "seed": self.seed,
            "mujoco": installed("mujoco"),
        }

    def _path(self) -> Path:
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
                cameras=self.cameras,
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
