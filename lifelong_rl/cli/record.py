"""`lifelong-rl record`: film an expert or what a run has learned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lifelong_rl.cli.options import (
    Command,
    OptionalDevice,
    OptionalName,
    OptionalPath,
    Repeated,
)
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import Count, Seed

if TYPE_CHECKING:
    import numpy as np

    from lifelong_rl.envs.batch_env import BatchEnv
    from lifelong_rl.envs.filming import Cameras, Rollout, VecRollout
    from lifelong_rl.storage.clip import Picture

    MakeRollout = Callable[[int], Rollout | VecRollout]
    """From a seed to who acts where."""

ALL = "all"
LEAST_SIZE = 32
"""Of a picture, in pixels."""
FRAMES_PER_SECOND = 25
"""Of a clip of a task that takes its pictures itself, one picture a step."""


@dataclass(frozen=True, kw_only=True)
class Record(Command):
    """Film an expert or what a run has learned, in the time of the simulated world.

    Attributes:
        expert: Film the experts.
        run_dir: Film what the run in this folder has learned.
        checkpoint: Which checkpoint of the run, such as task-001 (after the first task); by
            default the last.
        task: What to film; by default every task (of the run), each in a clip of its own.
        out: The clip, which ends in .mp4, .gif or .png (six pictures side by side); or a folder
            of clips called after their tasks.
        format: What the clips in a folder are, by default mp4.
        camera: A camera of the task, such as front, or all of them side by side.
        episodes: Episodes of a clip, one after another.
        seed: Decides the episodes.
        width: Of each camera's picture, in pixels.
        height: Of the picture, in pixels.
        quality: Render shadows and smooth shapes, which takes many times as long.
        overwrite: Replace clips that are there.
        device: What the run's agent computes on: auto, cpu, cuda, cuda:N or mps; by default on the
            run's own.
        plugin: Module to import first, such as one that registers an expert; those that the run
            names must be named here too.
    """

    expert: bool = False
    run_dir: OptionalPath = None
    checkpoint: Annotated[str | None, tyro.conf.arg(metavar="CHECKPOINT")] = None
    task: OptionalName = None
    out: Path
    format: OptionalName = None
    camera: str = "front"
    episodes: Count = 1
    seed: Seed = 0
    width: int = 480
    height: int = 360
    quality: bool = False
    overwrite: bool = False
    device: OptionalDevice = None
    plugin: Repeated = ()

    def __call__(self) -> int:
        """Film, and print a line for each clip."""
        from lifelong_rl.registry import load_plugins

        if self.expert == (self.run_dir is not None):
            raise UserError("say whom to film: either --expert or --run-dir DIR")
        if self.expert and self.checkpoint is not None:
            raise UserError("--checkpoint goes with --run-dir")
        if self.expert and self.device is not None:
            raise UserError("--device goes with --run-dir")
        ending = self._ending()
        if self.run_dir is None:
            load_plugins(self.plugin)
            rollouts, step = experts(), 0
        else:
            rollouts, step = learned(self.run_dir, self.checkpoint, self.plugin, self.device)
        if self.task is not None and self.task not in rollouts:
            where = "lifelong-rl list tasks" if self.expert else f"{self.run_dir}/config.yaml"
            raise UnknownNameError("task", self.task, rollouts, see=where)
        names = list(rollouts) if self.task is None else [self.task]
        paths = self._paths(names, ending)
        for name, path in paths.items():
            strip = self._film(name, path, rollouts[name](self.seed))
            if self.run_dir is not None:
                from lifelong_rl.storage.metrics_log import write_image

                write_image(self.run_dir / "tb" / "clips", f"clips/{name}", strip, step)
        return 0

    def _ending(self) -> str:
        """What the clips end in, after checking that such can be written."""
        from lifelong_rl.storage.clip import check_format

        if self._is_folder:
            ending = "." + (self.format or "mp4")
        elif self.format is None:
            ending = self.out.suffix
        else:
            raise UserError("--format goes with a folder; the ending of --out says what a clip is")
        check_format(ending)
        return ending

    @property
    def _is_folder(self) -> bool:
        return self.out.is_dir() or not self.out.suffix

    def _paths(self, names: Sequence[str], ending: str) -> dict[str, Path]:
        """Where the clip of each task goes."""
        if self._is_folder:
            if self.out.is_file():
                raise UserError(f"{self.out} is a file; give a folder, or a file that ends in .mp4")
            paths = {name: self.out / (name + ending) for name in names}
        elif len(names) == 1:
            paths = {names[0]: self.out}
        else:
            raise UserError(
                f"{self.out} is one clip, and there are {len(names)} tasks; name a --task, or "
                "give a folder"
            )
        for path in paths.values():
            if path.exists() and not self.overwrite:
                raise UserError(
                    f"{path} is there already; add --overwrite, or choose another --out"
                )
        return paths

    def _film(self, name: str, path: Path, rollout: Rollout | VecRollout) -> Picture:
        """Write one clip, and return pictures of its first episode side by side."""
        from lifelong_rl.envs.filming import Rollout, film_episodes, film_vec_env
        from lifelong_rl.storage.clip import side_by_side, write_clip

        started = perf_counter()
        if isinstance(rollout, Rollout):
            cameras = self._open_cameras(rollout.env)
            episodes = film_episodes(name, rollout, cameras, self.episodes)
            hertz = rollout.env.task.control_hz
        else:
            self._refuse_cameras(name)
            hertz = FRAMES_PER_SECOND
            episodes = film_vec_env(name, rollout, self.episodes)
        write_clip(path, [episode.pictures for episode in episodes], hertz)
        solved = sum(episode.solved for episode in episodes)
        print(
            f"{name}  solved {solved} of {self.episodes}  {path}  {perf_counter() - started:.1f} s",
            flush=True,
        )
        return side_by_side(episodes[0].pictures)

    def _refuse_cameras(self, name: str) -> None:
        for option in ("camera", "width", "height", "quality"):
            if getattr(self, option) != getattr(type(self), option):
                raise UserError(
                    f"the task '{name}' takes its pictures itself; leave out --{option}"
                )

    def _open_cameras(self, env: BatchEnv) -> Cameras:
        from lifelong_rl.envs.filming import Cameras
        from lifelong_rl.envs.rendering import RenderingError

        known = list(env.task.cameras)
        if self.camera not in (*known, ALL):
            raise UnknownNameError("camera", self.camera, [*known, ALL], see="")
        largest = env.batch.model.vis.global_
        for name, most in (("width", largest.offwidth), ("height", largest.offheight)):
            size = getattr(self, name)
            if not LEAST_SIZE <= size <= most or size % 2:
                raise UserError(
                    f"{name} must be an even number of {LEAST_SIZE} to {most}, not {size}"
                )
        names = known if self.camera == ALL else [self.camera]
        try:
            return Cameras(env, names, self.width, self.height, high_quality=self.quality)
        except RenderingError as error:
            raise UserError(str(error)) from error


def experts() -> dict[str, MakeRollout]:
    """The rollouts of all tasks that have an expert, by task."""
    from lifelong_rl.envs.experts import EXPERTS
    from lifelong_rl.envs.filming import expert_rollout

    return {task: partial(expert_rollout, task) for task in EXPERTS}


def learned(
    run_dir: Path, checkpoint: str | None, plugins: Collection[str], device: str | None
) -> tuple[dict[str, MakeRollout], int]:
    """The rollouts of a run's tasks, with what it had learned by a checkpoint, by task.

    Besides them the environment steps that it had learned for.

    Args:
        run_dir: Folder of the run.
        checkpoint: Name of the checkpoint, None for the last.
        plugins: Modules to import first, see `lifelong_rl.runs.setup.prepare`.
        device: That the agent is on; by default that of the run.

    Raises:
        UserError: There is no such run or checkpoint, or its tasks cannot be seen.
    """
    from lifelong_rl.envs.filming import Rollout, VecRollout
    from lifelong_rl.runs.restore import load_agent, prepare_on
    from lifelong_rl.runs.run_folder import RunFolder
    from lifelong_rl.runs.sequence import task_labels

    folder = RunFolder.open(run_dir)
    setup = prepare_on(device, folder.config, plugins)
    agent, tasks_done = load_agent(setup, folder, checkpoint)
    make_env: Any = partial(setup.sequence.make_env, **setup.env_options)

    def make_rollout(task_id: int, seed: int) -> Rollout | VecRollout:
        vec_env = make_env(task_id, num_envs=1, num_threads=1, seed=seed)
        if not hasattr(vec_env, "batch_env"):
            vec_env.close()
            if "render_mode" not in signature(setup.sequence.make_env).parameters:
                raise UserError(
                    f"the tasks of the sequence '{setup.sequence.name}' cannot be filmed"
                )
            shown = make_env(task_id, num_envs=1, num_threads=1, seed=seed, render_mode="rgb_array")
            return VecRollout(shown, agent.act)
        batch_env = vec_env.batch_env
        batch_env.seed(seed)

        def act(shown: Any) -> np.ndarray:
            own: np.ndarray = agent.act(shown)[:, : batch_env.task.action_dim]
            return own  # other tasks of the sequence may take more numbers

        return Rollout(batch_env, vec_env.observer, act)

    labels = task_labels(setup.sequence.tasks)
    steps = setup.starts[tasks_done]
    return {label: partial(make_rollout, task_id) for task_id, label in enumerate(labels)}, steps
