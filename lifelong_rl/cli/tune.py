"""`lifelong-rl tune`: search for options of an agent and a method."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

import lifelong_rl
from lifelong_rl.cli.cells import CellCommand
from lifelong_rl.cli.options import OptionalPath
from lifelong_rl.errors import UserError
from lifelong_rl.options import Count, Seed, Whole
from lifelong_rl.runs.endings import RunStopped, raise_when_stopped, stopping_exit_code
from lifelong_rl.storage.plain_file import read_bytes

if TYPE_CHECKING:
    from lifelong_rl.studies.study import Cell
    from lifelong_rl.studies.sweep import Entry, SweepReporter
    from lifelong_rl.studies.tune import Trial, Tuner

REPS = 5000
"""Resamples of the bootstrap."""
FOUND_BY = "Found by:"
"""Stands in a settings file before the command that wrote it."""


@dataclass(frozen=True, kw_only=True)
class Tune(CellCommand):
    """Search for options of an agent and a method, and judge the best with fresh seeds.

    The study has one sequence, agent and method, and a `space` of what may be tried. Its cells are
    run for each trial, the defaults first; a trial that is worse than most after a task is given
    up. Called again it goes on.

    Attributes:
        study: YAML file such as studies/tune_ewc_sac.yaml.
        metric: What to tune for: average_performance, learned_performance, forgetting,
            backward_transfer, forward_transfer or retention.
        trials: In all, with the defaults and those of earlier calls.
        judge: Fresh seeds that the best trial and the defaults are run with in the end.
        out: The settings file, which `lifelong-rl run --config` reads; by default best.yaml in the
            folder of the cells.
        seed: Decides what is tried.
        quiet: Print only the summary at the end.
    """

    study: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")]
    metric: str = "average_performance"
    trials: Count = 20
    judge: Whole = 5
    out: OptionalPath = None
    seed: Seed = 0
    quiet: bool = False

    def __call__(self) -> int:
        """Run what is to do, write the settings and print the summary; 1 if no trial finished."""
        import torch
        from joblib import cpu_count  # type: ignore[import-untyped]

        from lifelong_rl.studies.tune import Tuner, TuneReporter, read_tuning

        self.refuse_options_of_others()
        if self.executor != "local" and self.processes is None:
            raise UserError(
                f"with --executor {self.executor} say how many cells run at a time: --processes N"
            )
        torch.set_num_threads(1)
        processes = cpu_count() if self.processes is None else self.processes
        tuning = read_tuning(self.study, self.runs, self.plugin)
        tuner = Tuner(tuning, self.metric, self.seed)
        out = self.out or tuning.runs / "best.yaml"
        _refuse_other(out)
        reporter = TuneReporter() if self.quiet else _make_reporter(tuner, self.trials)
        try:
            with raise_when_stopped(), tuner.locked():
                together = max(processes // len(tuning.cells), 1)
                runner = self._runner(tuning.runs)
                tuner.run(self.trials, runner, together, reporter)
                best = tuner.best
                if best is None:
                    failed = tuner.trials[-1] if tuner.trials else None
                    why = f": {failed.message}" if failed is not None else ""
                    print(f"no trial finished{why}\ntry again: {self._again()}")
                    return 1
                judged = self._judge(tuner, best, runner)
                tuner.write_settings(out, best, self._describe(tuner, best, judged))
        except KeyboardInterrupt as error:
            raise RunStopped(
                f"stopped; go on with: {self._again()}", stopping_exit_code(error)
            ) from error
        print(_list_trials(tuner))
        print("\n".join(judged))
        print(f"settings: {out}")
        print(f"use them: {shlex.join(['lifelong-rl', 'run', '--config', str(out)])}")
        return 0

    def _runner(self, runs: Path) -> Any:
        """What runs cells, on the machinery of a sweep."""
        from lifelong_rl.studies.sweep import CELL, SweepLoop

        def run_cells(cells: Sequence[Cell], reporter: SweepReporter) -> Sequence[Entry]:
            command = [*CELL, *self.words("plugin")]
            loop = SweepLoop(cells, command, self.make_executor(runs))
            for entry in loop.entries_in("left out"):
                raise UserError(entry.message)
            loop.run(reporter)
            return loop.entries

        return run_cells

    def _judge(self, tuner: Tuner, best: Trial, runner: Any) -> list[str]:
        """What the best trial and the defaults come to with fresh seeds, a line each."""
        import numpy as np

        from lifelong_rl.analysis.statistics import MINIMUM_RUNS, mean_interval

        if not self.judge:
            return []
        first = max(tuner.tuning.seeds) + 1
        seeds = list(range(first, first + self.judge))
        compared = [tuner.trials[0], *([best] if best.number else [])]
        values = np.array(tuner.judge(compared, seeds, runner))

        def told(scores: np.ndarray, sign: str = "") -> str:
            mean = f"{scores.mean():{sign}.3f}"
            if len(scores) < MINIMUM_RUNS:
                return mean
            low, high = mean_interval(scores[:, None], REPS, np.random.default_rng(0))
            return f"{mean} [{low[0]:{sign}.3f}, {high[0]:{sign}.3f}]"

        lines = [
            f"{self.metric} with fresh seeds {seeds[0]} to {seeds[-1]}:",
            f"  the defaults: {told(values[0])}",
        ]
        if best.number:
            lines.append(f"  {best.name}: {told(values[1])}")
            lines.append(f"  difference, seed by seed: {told(values[1] - values[0], '+')}")
        else:
            lines.append("  no trial was better than the defaults")
        return lines

    def _describe(self, tuner: Tuner, best: Trial, judged: Sequence[str]) -> list[str]:
        """The comments of a settings file, the first of which says what it is."""
        tuning = tuner.tuning
        config = tuning.cells[0].setup.config
        finished = sum(trial.state == "finished" for trial in tuner.trials)
        pruned = sum(trial.state == "pruned" for trial in tuner.trials)
        return [
            f"{tuning.method} with {tuning.agent}, tuned on {config.sequence_name}",
            "",
            f"{FOUND_BY} {self._command()}",
            f"{len(tuner.trials)} trials ({finished} finished, {pruned} pruned) of "
            f"{config.steps_per_task} steps a task, seeds {tuning.seeds}; the best is {best.name}, "
            f"{self.metric} {best.value:.3f}",
            *judged,
            f"lifelong-rl {lifelong_rl.__version__}",
        ]

    def _command(self) -> str:
        words = ["lifelong-rl", "tune", str(self.study), "--metric", self.metric]
        words += ["--trials", str(self.trials)]
        if self.seed:
            words += ["--seed", str(self.seed)]
        return shlex.join([*words, *self.words("plugin")])

    def _again(self) -> str:
        """The command that goes on with this."""
        words = [self._command()]
        for name in ("judge", "out"):
            if getattr(self, name) != getattr(type(self), name):
                words.append(shlex.join([f"--{name}", str(getattr(self, name))]))
        return " ".join([*words, *map(shlex.quote, self.words_of_executor())])


def _refuse_other(out: Path) -> None:
    """Raise UserError if there is something else than settings where they are to be written."""
    if out.is_dir():
        raise UserError(f"{out} is a folder; choose another --out")
    if out.exists() and f"# {FOUND_BY} ".encode() not in read_bytes(out):
        raise UserError(f"{out} is there already, and no settings that were tuned; choose another")


def _make_reporter(tuner: Tuner, count: int) -> Any:
    from lifelong_rl.studies.tune import TuneReporter

    class LineReporter(TuneReporter):
        """A line for each trial that begins or ends."""

        def begin(self, trials: Sequence[Trial]) -> None:
            """Say what is tried."""
            for trial in trials:
                print(f"{trial.name} of {count}: {_told(trial.params)}", flush=True)

        def end(self, trial: Trial) -> None:
            """Say what came of it."""
            line = f"{trial.name}: {_outcome(trial, tuner.metric)}"
            if tuner.best is not None:
                line += f"; the best is {tuner.best.name}, {tuner.best.value:.3f}"
            print(line, flush=True)

    return LineReporter()


def _list_trials(tuner: Tuner) -> str:
    """A table of all trials, the best first."""
    from lifelong_rl.studies.tune import METRICS
    from lifelong_rl.text import format_table

    sign = -1.0 if METRICS[tuner.metric] == "maximize" else 1.0
    ordered = sorted(
        tuner.trials, key=lambda trial: (trial.value is None, sign * (trial.value or 0.0))
    )
    rows = [
        [
            trial.name,
            "-" if trial.value is None else f"{trial.value:.3f}",
            trial.state,
            ("defaults: " if trial.number == 0 else "") + _told(trial.params),
        ]
        for trial in ordered
    ]
    return format_table(["trial", tuner.metric, "state", "options"], rows)


def _told(params: dict[str, Any]) -> str:
    return ", ".join(f"{name.partition('.')[2]}={value}" for name, value in params.items())


def _outcome(trial: Trial, metric: str) -> str:
    if trial.value is not None:
        return f"{metric} {trial.value:.3f}"
    if trial.state == "pruned":
        so_far = trial.by_task[-1] if trial.by_task else None
        told = "" if so_far is None else f", {metric} {so_far:.3f} so far"
        return f"pruned after {len(trial.by_task)} tasks{told}"
    return f"failed: {trial.message}"
