"""`lifelong-rl record`: film an expert or what a run has learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lifelong_rl.cli.options import Command, OptionalName, OptionalPath
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import Count, Whole

if TYPE_CHECKING:
    import numpy as np

    from lifelong_rl.cli.clip import Picture
    from lifelong_rl.envs.batch_env import BatchEnv
    from lifelong_rl.envs.pixels import Observer

    Policy = Callable[[BatchEnv, Any], np.ndarray]
    """An environment and what it shows, of one row, to actions, (1, action_dim)."""
    Stage = Callable[[int], tuple[BatchEnv, Observer, Policy]]
    """A seed to one environment, not yet reset, what shows it, and who acts in it."""

ALL = "all"
LEAST_SIZE = 32
"""Of a picture, in pixels."""


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
    """

    expert: bool = False
    run_dir: OptionalPath = None
    checkpoint: Annotated[str | None, tyro.conf.arg(metavar="CHECKPOINT")] = None
    task: OptionalName = None
    out: Path
    format: OptionalName = None
    camera: str = "front"
    episodes: Count = 1
    seed: Whole = 0
    width: int = 480
    height: int = 360
    quality: bool = False
    overwrite: bool = False

    def __call__(self) -> int:
        """Film, and print a line for each clip."""
        if self.expert == (self.run_dir is not None):
            raise UserError("say whom to film: either --expert or --run-dir DIR")
        if self.expert and self.checkpoint is not None:
            raise UserError("--checkpoint goes with --run-dir")
        ending = self._ending()
        if self.run_dir is None:
            stages, step = experts(), 0
        else:
            stages, step = learned(self.run_dir, self.checkpoint)
        if self.task is not None and self.task not in stages:
            where = "lifelong-rl list tasks" if self.expert else f"{self.run_dir}/config.yaml"
            raise UnknownNameError("task", self.task, stages, see=where)
        names = list(stages) if self.task is None else [self.task]
        paths = self._paths(names, ending)
        for name, path in paths.items():
            strip = self._film(name, path, *stages[name](self.seed))
            if self.run_dir is not None:
                show_strip(self.run_dir / "tb" / "clips", name, strip, step)
        return 0

    def _ending(self) -> str:
        """What the clips end in, after checking that such can be written."""
        from lifelong_rl.cli.clip import check_format

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

    def _film(
        self, name: str, path: Path, env: BatchEnv, observer: Observer, policy: Policy
    ) -> Picture:
        """Write one clip, and return pictures of its first episode side by side."""
        from lifelong_rl.cli.clip import side_by_side, write_clip

        started = perf_counter()
        with closing(self._open_cameras(env)) as cameras, closing(observer):
            episodes = [
                film_episode(name, env, observer, policy, cameras.render)
                for _ in range(self.episodes)
            ]
        write_clip(path, [episode.pictures for episode in episodes], env.task.control_hz)
        solved = sum(episode.solved for episode in episodes)
        print(
            f"{name}  solved {solved} of {self.episodes}  {path}  {perf_counter() - started:.1f} s",
            flush=True,
        )
        return side_by_side(episodes[0].pictures)

    def _open_cameras(self, env: BatchEnv) -> Cameras:
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
        return Cameras(env, names, self.width, self.height, high_quality=self.quality)


class Cameras:
    """Pictures of one environment from some of its cameras, side by side.

    Args:
        env: The environment, in row 0 of a batch.
        names: Of the cameras.
        width: Of each camera's picture, in pixels.
        height: Of the picture, in pixels.
        high_quality: Shadows and smooth shapes.

    Raises:
        UserError: This machine cannot render.
    """

    def __init__(
        self, env: BatchEnv, names: Sequence[str], width: int, height: int, *, high_quality: bool
    ) -> None:
        from lifelong_rl.envs.rendering import Renderer, RenderingError

        self._renderers: list[Renderer] = []
        try:
            for name in names:
                self._renderers.append(
                    Renderer(
                        env, camera=name, width=width, height=height, high_quality=high_quality
                    )
                )
        except RenderingError as error:
            self.close()
            raise UserError(str(error)) from error

    def render(self) -> Picture:
        """Return a picture, (height, cameras * width, 3)."""
        import numpy as np

        return np.concatenate([renderer.render() for renderer in self._renderers], axis=1)

    def close(self) -> None:
        """Free the OpenGL contexts."""
        for renderer in self._renderers:
            renderer.close()


@dataclass(frozen=True)
class FilmedEpisode:
    """One episode.

    Attributes:
        pictures: From the start's to the last state's, with captions.
        solved: Whether any of the states solved the task.
    """

    pictures: list[Picture]
    solved: bool


def film_episode(
    name: str,
    env: BatchEnv,
    observer: Observer,
    policy: Policy,
    render: Callable[[], Picture],
) -> FilmedEpisode:
    """Run an episode and take a picture of every state.

    Args:
        name: What to call the task in captions.
        env: One environment.
        observer: Shows it to the policy.
        policy: Who acts.
        render: Takes a picture.
    """
    import numpy as np

    from lifelong_rl.cli.clip import caption

    observation = observer.first(np.arange(1), env.reset())
    pictures, solved, over = (
        [caption(render(), f"{name}   step 0/{env.task.horizon}")],
        False,
        False,
    )
    while not over:
        step = env.step(policy(env, observation))
        observation = observer.next(step)
        solved, over = solved or bool(step.success[0]), bool(step.truncated[0])
        text = f"{name}   step {env.elapsed[0]}/{env.task.horizon}" + "   solved" * solved
        pictures.append(caption(render(), text))
    return FilmedEpisode(pictures, solved)


def experts() -> dict[str, Stage]:
    """The stages of all tasks that have an expert, by task."""
    import numpy as np

    from lifelong_rl.envs.batch_env import BatchEnv
    from lifelong_rl.envs.experts import EXPERTS
    from lifelong_rl.envs.pixels import StateObserver
    from lifelong_rl.envs.tasks import TASKS

    def stage(task: str, seed: int) -> tuple[BatchEnv, Observer, Policy]:
        env = BatchEnv(TASKS[task], 1)
        env.seed(seed)
        observer = StateObserver(env, np.zeros(0, np.float32))
        return env, observer, lambda env, observation: EXPERTS[task](env.state())

    return {task: partial(stage, task) for task in EXPERTS}


def learned(run_dir: Path, checkpoint: str | None) -> tuple[dict[str, Stage], int]:
    """The stages of a run's tasks, with what it had learned by a checkpoint, by task.

    Besides them the environment steps that it had learned for.

    Args:
        run_dir: Folder of the run.
        checkpoint: Name of the checkpoint, None for the last.

    Raises:
        UserError: There is no such run or checkpoint, or its tasks cannot be seen.
    """
    import torch

    from lifelong_rl.runs.restore import load_learned
    from lifelong_rl.runs.run_folder import RunFolder
    from lifelong_rl.runs.sequence import task_labels
    from lifelong_rl.runs.setup import prepare

    folder = RunFolder.open(run_dir)
    setup = prepare(folder.config)
    state = load_learned(setup, folder, checkpoint)
    torch.set_num_threads(setup.config.threads)
    with closing(setup.make_env(0)) as env:
        agent, _ = setup.build_agent(env, state["agent"])
    sequence = setup.sequence

    make_env: Any = partial(sequence.make_env, **setup.env_options)

    def stage(task_id: int, seed: int) -> tuple[BatchEnv, Observer, Policy]:
        vec_env = make_env(task_id, num_envs=1, num_threads=1, seed=seed)
        if not hasattr(vec_env, "batch_env"):
            raise UserError(f"the tasks of the sequence '{sequence.name}' cannot be filmed")
        env: BatchEnv = vec_env.batch_env
        env.seed(seed)
        return env, vec_env.observer, lambda env, observation: agent.act(observation)

    labels = task_labels(sequence.tasks)
    steps = (len(state["record"]["performance"]) - 1) * setup.steps_per_task
    return {label: partial(stage, task_id) for task_id, label in enumerate(labels)}, steps


def show_strip(folder: Path, name: str, strip: Picture, step: int) -> None:
    """Add pictures of an episode to TensorBoard's images.

    They have a folder of their own: of several event files in one, TensorBoard follows the newest,
    and a run that goes on would seem to stand still.

    Args:
        folder: Of the events.
        name: Of the task.
        strip: (height, width, 3) uint8.
        step: Environment steps that were learned.

    Raises:
        WriteError: The disk refused.
    """
    from torch.utils.tensorboard import SummaryWriter

    from lifelong_rl.storage.atomic import writing

    with writing(folder), closing(SummaryWriter(str(folder))) as events:
        events.add_image(f"clips/{name}", strip, step, dataformats="HWC")
