"""`lifelong-rl demos`: let the experts demonstrate the tasks, or check that they can."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lifelong_rl.cli.options import Command, OptionalName, OptionalPath, Repeated
from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.options import Count, NonNegative, Seed, Threads

if TYPE_CHECKING:
    from lifelong_rl.storage.demonstration_file import Demonstrations

FOLDER = Path("demos")
ENDING = ".npz"
EXPORTS = ("minari",)


@dataclass(frozen=True, kw_only=True)
class Demos(Command):
    """Write demonstrations of tasks by their experts, or check that the experts solve them.

    Attributes:
        task: Task to demonstrate; may be given several times.
        sequence: Demonstrate all tasks of this sequence.
        episodes: Episodes of each task.
        seed: Decides the episodes.
        noise: Standard deviation of what is added to the expert's actions, which lie in [-1, 1].
        out: Folder of the files TASK-seedN[-noiseX].npz, by default demos; or, for one task, a
            file that ends in .npz.
        overwrite: Replace what is there.
        export: Write also a dataset that other tools read; known: minari.
        verify: Write nothing, and exit with 1 if an expert solves too few episodes; without a
            task or sequence, check all tasks.
        json: Write the result of --verify here too.
        num_threads: Threads that step the physics; the demonstrations do not depend on them.
        plugin: Module to import first; it may register tasks, experts and sequences.
    """

    task: Repeated = ()
    sequence: OptionalName = None
    episodes: Count = 100
    seed: Seed = 0
    noise: NonNegative = 0.0
    out: OptionalPath = None
    overwrite: bool = False
    export: OptionalName = None
    verify: bool = False
    json: OptionalPath = None
    num_threads: Threads = 2
    plugin: Repeated = ()

    def __call__(self) -> int:
        """Demonstrate or verify, and print a line for each task."""
        from lifelong_rl.registry import load_plugins

        load_plugins(self.plugin)
        if not self.verify:
            if self.json is not None:
                raise UserError("--json goes with --verify")
            return self._write()
        for name in ("out", "overwrite", "export"):
            if getattr(self, name):
                raise UserError(f"--verify writes no demonstrations; leave out --{name}")
        return self._verify()

    def _write(self) -> int:
        from lifelong_rl.envs.demonstrations import demonstrate
        from lifelong_rl.envs.minari_export import check_minari, export_minari
        from lifelong_rl.storage.demonstration_file import save_demonstrations

        tasks = find_tasks(self.task, self.sequence)
        if not tasks:
            raise UserError("say what to demonstrate: --task NAME or --sequence NAME")
        if self.export not in (None, *EXPORTS):
            raise UnknownNameError("export", str(self.export), EXPORTS, see="")
        noise = f"-noise{self.noise:g}" if self.noise else ""
        names = {task: f"{task}-seed{self.seed}{noise}" for task in tasks}
        paths = self._paths(names)
        if self.export is not None:
            check_minari(names.values(), overwrite=self.overwrite)
        width = max(map(len, tasks))
        for task, path in paths.items():
            started = perf_counter()
            demonstrations = demonstrate(
                task,
                episodes=self.episodes,
                seed=self.seed,
                noise=self.noise,
                num_threads=self.num_threads,
            )
            save_demonstrations(path, demonstrations)
            places = str(path)
            if self.export is not None:
                places += f" and Minari's {export_minari(names[task], demonstrations)}"
            print(
                f"{task:<{width}}  success {demonstrations.solved.mean():.2f}  "
                f"return {demonstrations.returns.mean():.1f}  "
                f"{format_steps(demonstrations)} steps to success  {places}  "
                f"{perf_counter() - started:.1f} s",
                flush=True,
            )
        return 0

    def _paths(self, names: dict[str, str]) -> dict[str, Path]:
        """The file of each task."""
        out = FOLDER if self.out is None else self.out
        if out.suffix == ENDING and not out.is_dir():
            if len(names) > 1:
                raise UserError(f"{out} is one file for {len(names)} tasks; give a folder")
            paths = dict.fromkeys(names, out)
        elif out.is_file():
            raise UserError(f"{out} is a file; give a folder, or a file that ends in {ENDING}")
        else:
            paths = {task: out / (name + ENDING) for task, name in names.items()}
        for path in paths.values():
            if path.exists() and not self.overwrite:
                raise UserError(
                    f"{path} is there already; add --overwrite, or choose another --out"
                )
        return paths

    def _verify(self) -> int:
        from lifelong_rl.envs.demonstrations import demonstrate
        from lifelong_rl.envs.tasks import TASKS
        from lifelong_rl.storage.atomic import write_json, writing
        from lifelong_rl.storage.versions import versions

        tasks = find_tasks(self.task, self.sequence) or find_tasks(TASKS, None)
        line = f"{{:<{max(map(len, tasks))}}}  {{:>9}}  {{:>9}}  {{:>6}}  {{:>16}}  {{}}"
        print(line.format("task", "solved", "needed", "return", "steps to success", "").rstrip())
        found: dict[str, dict[str, Any]] = {}
        for task in tasks:
            demonstrations = demonstrate(
                task,
                episodes=self.episodes,
                seed=self.seed,
                noise=self.noise,
                num_threads=self.num_threads,
            )
            solved = int(demonstrations.solved.sum())
            needed = math.ceil(TASKS[task].expert_success * self.episodes)
            found[task] = {
                "task_version": demonstrations.metadata["task_version"],
                "solved": solved,
                "needed": needed,
                "mean_return": float(demonstrations.returns.mean()),
                "mean_steps_to_success": demonstrations.mean_steps_to_success,
            }
            shown = line.format(
                task,
                f"{solved}/{self.episodes}",
                f"{needed}/{self.episodes}",
                f"{demonstrations.returns.mean():.1f}",
                format_steps(demonstrations),
                "too few" if solved < needed else "",
            )
            print(shown.rstrip(), flush=True)
        if self.json is not None:
            content = {
                "episodes": self.episodes,
                "seed": self.seed,
                "noise": self.noise,
                "versions": versions(),
                "tasks": found,
            }
            with writing(self.json):
                self.json.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.json, content)
        return 1 if any(entry["solved"] < entry["needed"] for entry in found.values()) else 0


def find_tasks(names: Iterable[str], sequence: str | None) -> list[str]:
    """The tasks named and those of a sequence, each once.

    Raises:
        UnknownNameError: There is no such task or sequence.
        UserError: A task has no expert.
    """
    from lifelong_rl.envs.experts import get_expert
    from lifelong_rl.envs.tasks import TASKS
    from lifelong_rl.runs.sequence import load_sequence

    found = dict.fromkeys(names)
    if sequence is not None:
        found.update(dict.fromkeys(load_sequence(sequence).tasks))
    for name in found:
        if name not in TASKS:
            raise UnknownNameError("task", name, TASKS)
        try:
            get_expert(name)
        except ValueError as error:
            raise UserError(str(error)) from error
    return list(found)


def format_steps(demonstrations: Demonstrations) -> str:
    """The mean number of steps to success, or a dash."""
    steps = demonstrations.mean_steps_to_success
    return "-" if steps is None else f"{steps:.1f}"
