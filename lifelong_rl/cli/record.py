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
    Number,
    OptionalDevice,
    OptionalName,
    OptionalPath,
    Repeated,
)
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import Count, Seed
from lifelong_rl.text import format_table

if TYPE_CHECKING:
    import numpy as np

    from lifelong_rl.envs.batch_env import BatchEnv
    from lifelong_rl.envs.filming import Cameras, FilmedEpisode, Rollout, VecRollout
    from lifelong_rl.runs.run_folder import RunFolder
    from lifelong_rl.runs.setup import Setup
    from lifelong_rl.storage.clip import Picture

    MakeRollout = Callable[[int], Rollout | VecRollout]
    """From a seed to who acts where."""

ALL = "all"
LEAST_SIZE = 32
"""Of a picture, in pixels."""
CLIP_SIZE = 480, 360
"""Width and height of a picture in a clip."""
FILM_WIDTH, FILM_WIDTHS = 240, 1600
"""Width of a picture in a film, and of all in a row, at most."""
FRAMES_PER_SECOND = 25
"""Of a clip of a task that takes its pictures itself, one picture a step."""


@dataclass(frozen=True, kw_only=True)
class Record(Command):
    """Film an expert or what a run has learned, in the time of the simulated world.

    Attributes:
        expert: Film the experts.
        run_dir: Film what the run in this folder has learned.
        film: See it forget: one film, in place of the clips of --out, of every task (row) with what
            the run had learned after every task (column), each row from the same start. A frame
            says that it is solved. It ends in .mp4, .gif or .png (the last pictures).
        checkpoint: Which checkpoint of the run, such as task-001 (after the first task); by
            default the last.
        task: What to film; by default every task (of the run), each in a clip of its own.
        out: The clip, which ends in .mp4, .gif or .png (six pictures side by side); or a folder
            of clips called after their tasks.
        format: What the clips in a folder are, by default mp4.
        camera: A camera of the task, such as front, or all of them side by side.
        episodes: Episodes of a clip, one after another.
        seed: Decides the episodes.
        width: Of each camera's picture, in pixels; by default 480, and in a film 240, or less where
            it has more than six columns.
        height: Of the picture, in pixels; by default 360, and in a film three quarters of its
            width.
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
    film: OptionalPath = None
    out: OptionalPath = None
    format: OptionalName = None
    camera: str = "front"
    episodes: Count = 1
    seed: Seed = 0
    width: Annotated[int | None, Number] = None
    height: Annotated[int | None, Number] = None
    quality: bool = False
    overwrite: bool = False
    device: OptionalDevice = None
    plugin: Repeated = ()

    def __call__(self) -> int:
        """Film, and print a line for each clip."""
        from lifelong_rl.registry import load_plugins

        self._refuse_contradictions()
        ending = self._ending()
        if self.run_dir is None:
            load_plugins(self.plugin)
            rollouts, step = experts(), 0
        else:
            from lifelong_rl.runs.restore import prepare_on
            from lifelong_rl.runs.run_folder import RunFolder

            folder = RunFolder.open(self.run_dir)
            setup = prepare_on(self.device, folder.config, self.plugin)
            if self.film is not None:
                return self._make_film(self.film, setup, folder)
            rollouts, step = learned(setup, folder, self.checkpoint)
        paths = self._paths(self._choose(rollouts), ending)
        for name, path in paths.items():
            strip = self._make_clip(name, path, rollouts[name](self.seed))
            if self.run_dir is not None:
                from lifelong_rl.storage.metrics_log import write_image

                write_image(self.run_dir / "tb" / "clips", f"clips/{name}", strip, step)
        return 0

    def _refuse_contradictions(self) -> None:
        if self.expert == (self.run_dir is not None):
            raise UserError("say whom to film: either --expert or --run-dir DIR")
        if (self.out is None) == (self.film is None):
            raise UserError("say where to: either --out for clips or --film for one film")
        for option in ("checkpoint", "device", "film"):
            if self.expert and getattr(self, option) is not None:
                raise UserError(f"--{option} goes with --run-dir")
        for option in ("checkpoint", "format", "episodes"):
            if self.film is not None and getattr(self, option) != getattr(type(self), option):
                raise UserError(
                    f"a film has one episode with every checkpoint; leave out --{option}"
                )

    def _choose(self, tasks: Collection[str]) -> list[str]:
        """What to film of these tasks."""
        if self.task is None:
            return list(tasks)
        if self.task not in tasks:
            where = "lifelong-rl list tasks" if self.expert else f"{self.run_dir}/config.yaml"
            raise UnknownNameError("task", self.task, tasks, see=where)
        return [self.task]

    def _ending(self) -> str:
        """What the clips end in, after checking that such can be written."""
        from lifelong_rl.storage.clip import check_format

        path = self.out or self.film
        assert path is not None
        if self.out is not None and _is_folder(self.out):
            ending = "." + (self.format or "mp4")
        elif self.format is None:
            ending = path.suffix
        else:
            raise UserError("--format goes with a folder; the ending of --out says what a clip is")
        check_format(ending)
        return ending

    def _paths(self, names: Sequence[str], ending: str) -> dict[str, Path]:
        """Where the clip of each task goes."""
        out = self.out
        assert out is not None
        if _is_folder(out):
            if out.is_file():
                raise UserError(f"{out} is a file; give a folder, or a file that ends in .mp4")
            paths = {name: out / (name + ending) for name in names}
        elif len(names) == 1:
            paths = {names[0]: out}
        else:
            raise UserError(
                f"{out} is one clip, and there are {len(names)} tasks; name a --task, or "
                "give a folder"
            )
        for path in paths.values():
            self._refuse_replacing(path)
        return paths

    def _refuse_replacing(self, path: Path) -> None:
        if path.exists() and not self.overwrite:
            raise UserError(f"{path} is there already; add --overwrite, or choose another place")

    def _make_clip(self, name: str, path: Path, rollout: Rollout | VecRollout) -> Picture:
        """Write one clip, and return pictures of its first episode side by side."""
        from lifelong_rl.storage.clip import side_by_side, write_clip

        started = perf_counter()
        episodes, hertz = self._film(name, rollout, self._size(*CLIP_SIZE), captions=True)
        write_clip(path, [episode.pictures for episode in episodes], hertz)
        solved = sum(episode.solved_at is not None for episode in episodes)
        print(
            f"{name}  solved {solved} of {self.episodes}  {path}  {perf_counter() - started:.1f} s",
            flush=True,
        )
        return side_by_side(episodes[0].pictures)

    def _make_film(self, path: Path, setup: Setup, folder: RunFolder) -> int:
        """Write the film, and print what it shows solved."""
        from lifelong_rl.storage.clip import write_clip
        from lifelong_rl.storage.film import Cell, make_film

        started = perf_counter()
        self._refuse_replacing(path)
        names = self._choose(setup.labels)
        checkpoints = find_checkpoints(setup, folder)
        columns = [f"after {label}" for label in checkpoints]
        widest = max(LEAST_SIZE, min(FILM_WIDTH, FILM_WIDTHS // len(columns)) // 2 * 2)
        width, _ = self._size(widest, 0)
        size = self._size(width, max(LEAST_SIZE, 3 * width // 8 * 2))
        cells: list[list[Cell]] = [[] for _ in names]
        so_far: set[str] = set()
        for phase, checkpoint in zip(setup.phases, checkpoints.values(), strict=False):
            so_far |= {setup.labels[task] for task in phase.tasks}
            rollouts, _ = learned(setup, folder, checkpoint)
            for row, name in zip(cells, names, strict=True):
                rollout = rollouts[name](self.seed)
                (episode,), hertz = self._film(name, rollout, size, captions=False)
                faded = name not in so_far
                row.append(Cell(episode.pictures, hertz, episode.solved_at, faded))
        config = setup.config
        notes = [
            f"{config.agent} with {config.method}, seed {config.seed}; one episode each, the "
            "same start in a row",
            "framed: solved; pale: not learned yet",
        ]
        pictures, hertz = make_film(cells, names, columns, notes, size)
        write_clip(path, [pictures[-1:] if path.suffix == ".png" else pictures], hertz)
        told = [
            [name, *("-" if cell.solved_at is None else "solved" for cell in row)]
            for name, row in zip(names, cells, strict=True)
        ]
        print(format_table(["task", *columns], told))
        print(f"{path}  {perf_counter() - started:.1f} s", flush=True)
        return 0

    def _size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a picture, as given or by default these."""
        return (
            width if self.width is None else self.width,
            height if self.height is None else self.height,
        )

    def _film(
        self, name: str, rollout: Rollout | VecRollout, size: tuple[int, int], *, captions: bool
    ) -> tuple[list[FilmedEpisode], int]:
        """Episodes, and how many of their pictures make a second."""
        from lifelong_rl.envs.filming import Rollout, film_episodes, film_vec_env

        if isinstance(rollout, Rollout):
            cameras = self._open_cameras(rollout.env, size)
            hertz = rollout.env.task.control_hz
            return film_episodes(name, rollout, cameras, self.episodes, captions=captions), hertz
        self._refuse_cameras(name)
        _check_size(size, (FILM_WIDTHS, FILM_WIDTHS))
        episodes = film_vec_env(name, rollout, self.episodes, captions=captions)
        return episodes, FRAMES_PER_SECOND

    def _refuse_cameras(self, name: str) -> None:
        sizes = () if self.film is not None else ("width", "height")  # a film has its own
        for option in ("camera", *sizes, "quality"):
            if getattr(self, option) != getattr(type(self), option):
                raise UserError(
                    f"the task '{name}' takes its pictures itself; leave out --{option}"
                )

    def _open_cameras(self, env: BatchEnv, size: tuple[int, int]) -> Cameras:
        from lifelong_rl.envs.filming import Cameras
        from lifelong_rl.envs.rendering import RenderingError

        known = list(env.task.cameras)
        if self.camera not in (*known, ALL):
            raise UnknownNameError("camera", self.camera, [*known, ALL], see="")
        largest = env.batch.model.vis.global_
        _check_size(size, (largest.offwidth, largest.offheight))
        names = known if self.camera == ALL else [self.camera]
        try:
            return Cameras(env, names, *size, high_quality=self.quality)
        except RenderingError as error:
            raise UserError(str(error)) from error


def experts() -> dict[str, MakeRollout]:
    """The rollouts of all tasks that have an expert, by task."""
    from lifelong_rl.envs.experts import EXPERTS
    from lifelong_rl.envs.filming import expert_rollout

    return {task: partial(expert_rollout, task) for task in EXPERTS}


def learned(
    setup: Setup, folder: RunFolder, checkpoint: str | None
) -> tuple[dict[str, MakeRollout], int]:
    """The rollouts of a run's tasks, with what it had learned by a checkpoint, by task.

    Besides them the environment steps that it had learned for.

    Args:
        setup: Of the run.
        folder: Of the run.
        checkpoint: Name of the checkpoint, None for the last.

    Raises:
        UserError: There is no such checkpoint, or the tasks cannot be seen.
    """
    from lifelong_rl.envs.filming import Rollout, VecRollout
    from lifelong_rl.runs.restore import load_agent

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

    rollouts: dict[str, MakeRollout] = {
        label: partial(make_rollout, task_id) for task_id, label in enumerate(setup.labels)
    }
    return rollouts, setup.starts[tasks_done]


def find_checkpoints(setup: Setup, folder: RunFolder) -> dict[str, str]:
    """Names of the checkpoints after each phase that a run has learned, by what it learned.

    Raises:
        UserError: There is none after a phase, or one is missing before the last.
    """
    there = folder.names_at_task_ends()
    found = {
        label: name
        for number, label in enumerate(setup.phase_labels, 1)
        if (name := folder.checkpoint(number).name) <= max(there, default="")
    }
    if not found:
        raise UserError(
            f"{folder.path} has no checkpoint after a task yet; go on with: "
            f"{folder.command('resume')}"
        )
    for label, name in found.items():
        if name not in there:
            raise UserError(
                f"{folder.path} has no checkpoint {name} any more, which would show what it did "
                f"after {label}; a film needs those after all tasks"
            )
    return found


def _is_folder(path: Path) -> bool:
    return path.is_dir() or not path.suffix


def _check_size(size: tuple[int, int], most: tuple[int, int]) -> None:
    """Raise UserError unless pictures of this width and height can be taken and written."""
    for name, side, bound in zip(("width", "height"), size, most, strict=True):
        if not LEAST_SIZE <= side <= bound or side % 2:
            raise UserError(f"{name} must be an even number of {LEAST_SIZE} to {bound}, not {side}")
