"""Searching for options of an agent and a method: trials, each the cells of a small study.

What is known of a tuning is in `trials.json` in the folder of its cells, and in these. Optuna is
asked for the options of a trial with all that is known of earlier ones, and for whether one that
runs is still of interest; it keeps nothing itself. So a tuning can be killed at any moment and
started again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.learning.seeding import derive_seed
from lifelong_rl.runs.config import flatten, read_mapping, tell_differences
from lifelong_rl.runs.run_folder import RunFolder
from lifelong_rl.storage.atomic import write_file, write_json, writing
from lifelong_rl.storage.json_file import Shape, parse_json, read_json
from lifelong_rl.storage.lock import FolderLock, lock_folder
from lifelong_rl.storage.plain_file import NotPlainError, read_bytes
from lifelong_rl.storage.yaml_file import dump_yaml
from lifelong_rl.studies.cell import STOP
from lifelong_rl.studies.grid import KINDS
from lifelong_rl.studies.space import Dimension, read_space
from lifelong_rl.studies.study import LISTS, Cell, make_study
from lifelong_rl.studies.sweep import Entry, SweepReporter

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

METRICS = {
    "average_performance": "maximize",
    "learned_performance": "maximize",
    "forgetting": "minimize",
    "backward_transfer": "maximize",
    "forward_transfer": "maximize",
    "retention": "maximize",
}
"""What can be tuned for, and which way."""
TRIALS = "trials.json"
STARTUP_TRIALS = 5
"""Trials at random, the defaults among them, before Optuna learns from them."""
UNPRUNED_TASKS = 1
"""Tasks after which no trial is given up: nothing can have been forgotten yet."""
ATTEMPTS = 20
"""At options that were not tried before; where all fail, there are none left."""
LOOK_SECONDS = 1.0
"""Between two looks at how far the trials are."""

TrialState = Literal["to do", "finished", "pruned", "failed"]
FILE: Shape = {
    "tuning": dict,
    "trials": [
        {
            "number": int,
            "params": dict,
            "state": str,
            "value": float | None,
            "by_task": [float | None],
            "message": str,
        }
    ],
}
RunCells = Callable[[Sequence[Cell], SweepReporter], Sequence[Entry]]
"""Runs cells to their end, telling a reporter, and returns how they stand."""


@dataclass
class Trial:
    """Some options, and what came of them.

    Attributes:
        number: 0 for the defaults.
        params: By "agent_options.NAME" or "method_options.NAME".
        state: "pruned" if it was given up after a task.
        value: The metric, mean over its cells, if it has finished.
        by_task: The metric as if the sequence ended with each task, mean over the cells.
        message: Why it failed.
    """

    number: int
    params: dict[str, Any]
    state: TrialState = "to do"
    value: float | None = None
    by_task: list[float | None] = field(default_factory=list)
    message: str = ""

    @property
    def name(self) -> str:
        """What the names of its cells end in."""
        return f"trial{self.number:03d}"


@dataclass(frozen=True)
class Tuning:
    """What a file asks to be tuned.

    Attributes:
        path: The file.
        content: Of the file, without the space.
        space: Options and what they may be.
        cells: With the defaults.
        runs: Folder of the cells.
        plugins: See `read_tuning`.
    """

    path: Path
    content: Mapping[str, Any]
    space: Mapping[str, Dimension]
    cells: tuple[Cell, ...]
    runs: Path
    plugins: tuple[str, ...]

    @property
    def agent(self) -> str:
        """The learner."""
        return self.cells[0].setup.config.agent

    @property
    def method(self) -> str:
        """The continual method."""
        return self.cells[0].setup.config.method

    @property
    def seeds(self) -> list[int]:
        """Of the cells of a trial."""
        return [cell.setup.config.seed for cell in self.cells]

    @property
    def defaults(self) -> dict[str, Any]:
        """What the options are that are tuned, if they are not."""
        flat = flatten(self.cells[0].setup.config)
        return {name: flat[name] for name in self.space}

    def options(self, params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Parameters of a trial by kind: `agent_options` and `method_options`."""
        found: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
        for name, value in params.items():
            kind, _, option = name.partition(".")
            found[kind][option] = value
        return found

    def cells_of(self, trial: Trial, seeds: Sequence[int] | None = None) -> list[Cell]:
        """The cells of a trial, by default with the seeds of the file."""
        content = dict(self.content)
        for (kind, key), own in zip(
            KINDS.items(), self.options(trial.params).values(), strict=True
        ):
            owner = getattr(self, key)
            given = content.get(kind, {})
            content[kind] = {**given, owner: {**given.get(owner, {}), **own}}
        content["seeds"] = self.seeds if seeds is None else list(seeds)
        content["blocks"] = [{"name": trial.name}]
        return list(make_study(content, self.path, self.runs, self.plugins).cells)

    def describe(self, metric: str) -> dict[str, Any]:
        """What must be equal for earlier trials to count."""
        config = flatten(self.cells[0].setup.config)
        return {
            "metric": metric,
            "seeds": self.seeds,
            **{f"space.{name}": told.as_dict() for name, told in self.space.items()},
            **{name: config[name] for name in config if name not in self.space and name != "seed"},
        }


def read_tuning(path: Path, runs: Path | None = None, plugins: Collection[str] = ()) -> Tuning:
    """Read a study file that has a space to search.

    It is a study of one sequence, agent and method (see `read_study`), whose cells are run for each
    trial, and `space` has what may be tried: for each option a list of choices, or a range as
    `{low: 1e2, high: 1e6, log: true}`.

    Args:
        path: The file.
        runs: Folder of the cells, as for `read_study`.
        plugins: Modules to import first, as for `read_study`.

    Raises:
        UserError: The file cannot be read, or is no such study.
    """
    content = read_mapping(path)
    if "space" not in content:
        raise UserError(
            f"{path} has no space to search; add one, such as "
            "space: {method_options: {ewc: {strength: {low: 1e2, high: 1e6, log: true}}}}"
        )
    space = content.pop("space")
    for name in ("blocks", "grid"):
        if name in content:
            raise UserError(f"{path}: a study to tune has no {name}")
    study = make_study(content, path, runs, plugins)
    for key, name in LISTS.items():
        found = {str(getattr(cell.setup.config, name)) for cell in study.cells}
        if name != "seed" and len(found) > 1:
            raise UserError(f"{path}: a study to tune has one {name}, not {len(found)} {key}")
    config = study.cells[0].setup.config
    if config.eval_starts == "test":
        raise UserError(
            f"{path}: the test starts are for runs that are reported, and what is tuned must not "
            "have seen them; leave out eval_starts"
        )
    found_space = read_space(space, {key: getattr(config, key) for key in KINDS.values()}, path)
    return Tuning(path, content, found_space, study.cells, study.runs, tuple(plugins))


class TuneReporter:
    """Is told how a tuning goes. This one keeps quiet."""

    def begin(self, trials: Sequence[Trial]) -> None:
        """The cells of these trials are about to be run."""

    def end(self, trial: Trial) -> None:
        """A trial has come to its end."""


class Tuner:
    """Runs trials, and keeps what came of them.

    Args:
        tuning: What is tuned.
        metric: One of `METRICS`.
        seed: Decides what is tried.

    Attributes:
        trials: In the order in which they were begun.

    Raises:
        UserError: The folder holds another tuning, or Optuna is not installed.
    """

    def __init__(self, tuning: Tuning, metric: str, seed: int = 0) -> None:
        if metric not in METRICS:
            raise UnknownNameError("metric", metric, METRICS, see="lifelong-rl tune --help")
        _import_optuna()
        self.tuning, self.metric = tuning, metric
        self._seed = seed
        self._direction = METRICS[metric]
        self._file = tuning.runs / TRIALS
        self._lock: FolderLock | None = None
        self.trials = self._read()

    @property
    def best(self) -> Trial | None:
        """The finished trial with the best value; of several the first."""
        finished = [trial for trial in self.trials if trial.value is not None]
        sign = 1 if self._direction == "maximize" else -1
        return max(finished, key=lambda trial: sign * (trial.value or 0.0), default=None)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from tuning in the same folder.

        Raises:
            UserError: One does.
        """
        self._make_folder()
        self._lock = lock_folder(self.tuning.runs)
        try:
            self.trials = self._read()
            yield
        finally:
            self._lock.release()
            self._lock = None

    def run(
        self,
        count: int,
        run_cells: RunCells,
        together: int = 1,
        reporter: TuneReporter | None = None,
    ) -> None:
        """Go on until there are so many trials, those of before included.

        What failed before is tried again first.

        Args:
            count: Trials, the first of which are the defaults.
            run_cells: Runs the cells of some trials.
            together: Trials whose cells are run at a time. What is tried depends on it, as nothing
                is known of a trial before those have ended that run beside it.
            reporter: Is told how it goes.
        """
        reporter = reporter or TuneReporter()
        failed = [trial for trial in self.trials[:count] if trial.state == "failed"]
        for first in range(0, len(failed), together):
            self._run_batch(failed[first : first + together], run_cells, reporter)
        while True:
            batch = [trial for trial in self.trials[:count] if trial.state == "to do"][:together]
            while len(batch) < together and len(self.trials) < count:
                params = self._suggest()
                if params is None:
                    break
                batch.append(Trial(len(self.trials), params))
                self.trials.append(batch[-1])
            if not batch:
                return
            self._write()
            self._run_batch(batch, run_cells, reporter)

    def judge(
        self, trials: Sequence[Trial], seeds: Sequence[int], run_cells: RunCells
    ) -> list[list[float]]:
        """The metric of each trial with other seeds, (trials, seeds).

        Raises:
            UserError: A cell failed.
        """
        cells = [self.tuning.cells_of(trial, seeds) for trial in trials]
        together = {cell.path: cell for among in cells for cell in among}
        for entry in run_cells(list(together.values()), SweepReporter()):
            if entry.state != "finished":
                raise UserError(f"{entry.cell.path} did not finish: {entry.message}")
        values = [[self._value(cell) for cell in among] for among in cells]
        if any(value is None for among in values for value in among):
            raise UserError(f"{self.metric} is not defined for each of these runs")
        return [[value for value in among if value is not None] for among in values]

    def write_settings(self, path: Path, trial: Trial, comments: Sequence[str]) -> None:
        """Write the options of a trial as a file that `run --config` reads.

        Raises:
            WriteError: The disk refused.
        """
        options = {kind: own for kind, own in self.tuning.options(trial.params).items() if own}
        content = {"agent": self.tuning.agent, "method": self.tuning.method, **options}
        header = "".join(f"# {line}".rstrip() + "\n" for line in comments)
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, (header + dump_yaml(content)).encode())

    def _suggest(self) -> dict[str, Any] | None:
        """Options for the next trial that no other has; None where there are none."""
        if not self.trials:
            return self.tuning.defaults
        optuna = _import_optuna()
        space = self.tuning.space
        known = [frozen for trial in self.trials if (frozen := self._freeze(trial)) is not None]
        for attempt in range(ATTEMPTS):
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=STARTUP_TRIALS,
                seed=derive_seed(self._seed, len(self.trials), attempt),
            )
            study = optuna.create_study(direction=self._direction, sampler=sampler)
            study.add_trials(known)
            asked = study.ask({name: told.distribution() for name, told in space.items()})
            params = {name: told.decode(asked.params[name]) for name, told in space.items()}
            if all(params != trial.params for trial in self.trials):
                return params
        return None

    def _freeze(self, trial: Trial) -> FrozenTrial | None:
        """A trial as Optuna knows it; None if it is none of what can be tried, or failed."""
        optuna = _import_optuna()
        space = self.tuning.space
        states = optuna.trial.TrialState
        state = {
            "to do": states.RUNNING,
            "finished": states.COMPLETE,
            "pruned": states.PRUNED,
            "failed": states.FAIL,
        }[trial.state]
        if not all(told.contains(trial.params[name]) for name, told in space.items()):
            return None
        frozen: FrozenTrial = optuna.trial.create_trial(
            state=state,
            value=trial.value,
            params={name: told.encode(trial.params[name]) for name, told in space.items()},
            distributions={name: told.distribution() for name, told in space.items()},
            intermediate_values=_steps(trial.by_task),
        )
        return frozen

    def _is_hopeless(self, trial: Trial) -> bool:
        """Whether a trial is worse so far than the median of the finished ones was."""
        if trial.number == 0:  # what the others are compared with
            return False
        optuna = _import_optuna()
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=STARTUP_TRIALS - 1, n_warmup_steps=UNPRUNED_TASKS + 1
        )
        study = optuna.create_study(direction=self._direction, pruner=pruner)
        for other in self.trials:
            if other.state == "finished":
                study.add_trial(
                    optuna.trial.create_trial(
                        value=other.value, intermediate_values=_steps(other.by_task)
                    )
                )
        asked = study.ask()
        # Only the last: the pruner goes by the best so far, and every trial is best at its start.
        for step, value in [*_steps(trial.by_task).items()][-1:]:
            asked.report(value, step)
        return bool(asked.should_prune())

    def _run_batch(
        self, batch: Sequence[Trial], run_cells: RunCells, reporter: TuneReporter
    ) -> None:
        cells = {trial.number: self.tuning.cells_of(trial) for trial in batch}
        waiting = [trial for trial in batch if not any(map(_was_stopped, cells[trial.number]))]
        reporter.begin(waiting)
        watching = _Pruning(self, {trial.number: cells[trial.number] for trial in waiting})
        to_run = [cell for trial in waiting for cell in cells[trial.number]]
        entries = {entry.cell.path: entry for entry in run_cells(to_run, watching)}
        for trial in batch:
            own = cells[trial.number]
            self._conclude(trial, own, [entries[c.path] for c in own if c.path in entries])
        self._write()  # at once: what is tried next goes by all of them
        for trial in batch:
            reporter.end(trial)

    def _conclude(self, trial: Trial, cells: Sequence[Cell], entries: Sequence[Entry]) -> None:
        self.note_progress(trial, cells)
        trial.message = ""
        failed = [entry for entry in entries if entry.state != "finished"]
        if entries and not failed:
            values = [self._value(cell) for cell in cells]
            defined = [value for value in values if value is not None]
            if len(defined) == len(values):
                trial.state, trial.value = "finished", mean(defined)
            else:
                trial.state, trial.message = "failed", f"{self.metric} is not defined"
        elif any(map(_was_stopped, cells)):
            trial.state = "pruned"
        else:
            first = failed[0]
            trial.state, trial.message = "failed", f"{first.cell.name}: {first.message}"

    def note_progress(self, trial: Trial, cells: Sequence[Cell]) -> None:
        """Note what the metric of a trial is so far, as its cells log it."""
        rows = [_read_by_task(cell, self.metric) for cell in cells]
        trial.by_task = [
            mean(defined) if len(defined := [v for v in row if v is not None]) == len(row) else None
            for row in zip(*rows, strict=False)
        ]

    def _value(self, cell: Cell) -> float | None:
        value: float | None = RunFolder(cell.path, cell.setup.config).results()["metrics"][
            self.metric
        ]
        return value

    def _read(self) -> list[Trial]:
        try:
            content = read_json(self._file, FILE)
        except FileNotFoundError:
            return []
        before = {"eval_starts": "validation", **content["tuning"]}  # there were no others once
        told = tell_differences(before, self._identity())
        if told:
            raise UserError(
                f"{self._file} is of another tuning ({told}); give the study another folder of runs"
            )
        names = [entry.name for entry in dataclasses.fields(Trial)]
        trials = [Trial(**{name: trial[name] for name in names}) for trial in content["trials"]]
        for number, trial in enumerate(trials):
            known = trial.state in ("to do", "finished", "pruned", "failed")
            if trial.number != number or {*trial.params} != {*self.tuning.space} or not known:
                raise UserError(f"cannot read {self._file}: trial {number} is none of this study")
        told = tell_differences(trials[0].params, self.tuning.defaults) if trials else ""
        if told:
            raise UserError(
                f"{self._file} is of a tuning from other defaults ({told}); give the study another "
                "folder of runs"
            )
        return trials

    def _make_folder(self) -> None:
        with writing(self.tuning.runs):
            self.tuning.runs.mkdir(parents=True, exist_ok=True)

    def _write(self) -> None:
        self._make_folder()
        if self._lock is not None:
            self._lock.check()
        trials = [dataclasses.asdict(trial) for trial in self.trials]
        write_json(self._file, {"tuning": self._identity(), "trials": trials})

    def _identity(self) -> dict[str, Any]:
        return {**self.tuning.describe(self.metric), "tuner_seed": self._seed}


class _Pruning(SweepReporter):
    """Stops the cells of trials that are hopeless, from one task to the next.

    Args:
        tuner: Judges them.
        cells: Of the trials that run, by number.
    """

    def __init__(self, tuner: Tuner, cells: Mapping[int, Sequence[Cell]]) -> None:
        self._tuner, self._cells = tuner, dict(cells)
        self._looked = 0.0

    def tick(self) -> None:
        """Look at the trials, once in a while."""
        if monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = monotonic()
        for number, cells in list(self._cells.items()):
            trial = self._tuner.trials[number]
            before = len(trial.by_task)
            self._tuner.note_progress(trial, cells)
            done = len(trial.by_task)
            if before < done < len(cells[0].setup.phases) and self._tuner._is_hopeless(trial):
                del self._cells[number]
                for cell in cells:
                    with suppress(OSError):
                        (cell.path / STOP).write_text("pruned by a tuning\n", encoding="utf-8")


def _was_stopped(cell: Cell) -> bool:
    return (cell.path / STOP).exists()


def _steps(by_task: Sequence[float | None]) -> dict[int, float]:
    """The values by the number of tasks learned."""
    return {step: value for step, value in enumerate(by_task, start=1) if value is not None}


def _read_by_task(cell: Cell, metric: str) -> list[float | None]:
    """A metric after each task that a cell has learned, as if the sequence ended with it."""
    found: list[float | None] = []
    try:
        whole, _, _ = read_bytes(cell.path / "metrics.jsonl").rpartition(b"\n")
        for line in whole.split(b"\n"):
            told = parse_json(line, {"type": str, "task": str | None, "values": dict})
            if told["type"] == "evaluation" and told["task"] is not None:
                value = told["values"].get(f"so_far/{metric}")
                found.append(float(value) if isinstance(value, (int, float)) else None)
    except (OSError, ValueError, NotPlainError):  # it has not begun, or is damaged
        pass
    return found


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError("tune needs Optuna: pip install 'lifelong-rl[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
