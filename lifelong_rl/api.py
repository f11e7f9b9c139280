"""Runs from Python: `run` learns a sequence of tasks, `load_runs` reads what runs have left.

`lifelong_rl.run` is what `lifelong-rl run` does, without a terminal: the same options, the same
checks, the same numbers. These names are stable; others may move (docs/renaming.md).
"""

from __future__ import annotations

import dataclasses
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass
from functools import cached_property
from inspect import Parameter, Signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lifelong_rl.analysis.runs import Run, find_runs, read_run
from lifelong_rl.errors import UserError, lookup
from lifelong_rl.options import check_options, options_of
from lifelong_rl.registry import AGENTS, METHODS, SEQUENCES, Registry
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.endings import RunFailed, RunStopped
from lifelong_rl.runs.reporters import Reporter

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from lifelong_rl.learning.method import ContinualMethod
    from lifelong_rl.runs.sequence import Sequence

_TURN = threading.RLock()
"""Held by the run that learns: all share torch's number of threads and the random generators."""
_NOT_KEPT = "nothing is kept, as it has no run_dir"


class AgentFactory(Protocol):
    """Builds agents, as the classes of agents do; see docs/add_an_agent.md."""

    @property
    def build(self) -> Callable[..., Any]:
        """`build(env, *, num_tasks, method, seed, **options)` returns an agent."""
        ...


@dataclass(frozen=True, eq=False)
class RunResult:
    """What came of a run.

    Attributes:
        details: All that is known of it, such as its success curves, sizes and times.
        run_dir: Its folder; None where none was kept.
    """

    details: Run
    run_dir: Path | None

    @property
    def config(self) -> RunConfig:
        """What the run was told to do, with all defaults filled in."""
        return self.details.config

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in the order of learning; repeated ones are told apart."""
        return self.details.tasks

    @property
    def matrix(self) -> np.ndarray:
        """The performance matrix, (P + 1, T): success on each task before and after each phase.

        Row 0 is before learning, row p after phase p. A phase learns one task, unless the sequence
        is a stream; so P is the number of tasks T, and `matrix[-1]` what is left in the end.
        """
        return self.details.matrix

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """All metrics by name, such as "average_performance" and "forgetting"; see docs/metrics.md.

        None for one that is not defined, such as the forgetting of returns without a scale.
        """
        from lifelong_rl.runs.measurements import measure

        run = self.details
        return measure(run.matrix.tolist(), run.curves, run.phases, run.measures)

    def frame(self) -> DataFrame:
        """The performance matrix in long form: a row for each entry, to be joined and grouped.

        Returns:
            Columns "sequence", "order", "agent", "method", "seed", "phase" (how many are done),
            "after" (what the last of them learned; "before" in phase 0), "step" (environment steps
            so far), "task", "measure" ("success", "score" or "return") and "value".

        Raises:
            UserError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise UserError("frame() needs pandas: pip install 'lifelong-rl[pandas]'") from error
        run = self.details
        named = {name: getattr(run, name) for name in ("sequence", "order", "agent", "method")}
        return DataFrame(
            [
                {
                    **named,
                    "seed": run.seed,
                    "phase": phase,
                    "after": after,
                    "step": step,
                    "task": task,
                    "measure": measure,
                    "value": value,
                }
                for phase, (after, step, row) in enumerate(
                    zip(("before", *run.phase_labels), run.starts, run.matrix, strict=True)
                )
                for task, measure, value in zip(run.tasks, run.measures, row, strict=True)
            ]
        )

    def plot(self, figure: Literal["matrix", "success"] = "matrix") -> Figure:
        """Draw the run; a notebook shows it, and `savefig` writes it.

        Args:
            figure: "matrix", the performance matrix; or "success", success on each task over the
                whole sequence. Returns are drawn from 0, the lowest of the run, to 1, its highest.

        Raises:
            UnknownNameError: There is no such figure.
        """
        from lifelong_rl.analysis.run_figures import plot_matrix, plot_success

        draw = lookup("figure", figure, {"matrix": plot_matrix, "success": plot_success}, see="")
        return draw(self.details)

    def __repr__(self) -> str:
        """Its name, and what was kept and forgotten."""
        words = []
        for name in ("average_performance", "forgetting"):
            value = self.metrics[name]
            words.append(f"{name}={'None' if value is None else format(value, '.3f')}")
        return f"<RunResult {self.config.folder_name} {' '.join(words)}>"


def run(
    *,
    sequence: str | Sequence = "arm3",
    agent: str | AgentFactory = "sac",
    method: str | ContinualMethod | type[ContinualMethod] = "finetune",
    run_dir: str | Path | None = None,
    reporter: Reporter | None = None,
    **options: Any,
) -> RunResult:
    """Learn a sequence of tasks one after another, evaluating all of them after each.

    The numbers are those of `lifelong-rl run` with the same options. It works in a notebook and in
    any thread; runs of several threads take turns. Random generators and torch's number of threads
    are afterwards as they were.

    What is given as an object and has no name yet is registered under one, as a plug-in registers
    it: a sequence under its `name`, a method or an agent under that of its class.

    Args:
        sequence: A name (`lifelong-rl list sequences`), tasks joined by commas, the path of a YAML
            file (docs/streams.md), or an object such as `lifelong_rl.envs.sequences.ARM3`.
        agent: A name (`lifelong-rl list agents`), or a class or other object that builds agents.
        method: A name (`lifelong-rl list methods`), several joined by "+", a class, or an object
            such as `lifelong_rl.continual.make("ewc", strength=1e3)`, which serves one run.
        run_dir: New folder of the run; by default none is kept, and what the run writes goes to the
            system's temporary folder and is removed in the end.
        reporter: Follows the run; by default warnings are given as Python's.
        **options: The other fields of `lifelong_rl.runs.config.RunConfig`, such as `seed`,
            `steps_per_task`, `agent_options` and `method_options`. They may be NumPy's numbers.

    Returns:
        What came of it.

    Raises:
        UserError: An option is unknown or has a value that is not allowed; what is named does not
            exist or does not go together; a method object has been used before; or something is in
            `run_dir` already.
        RunStopped: Ctrl-C or another signal asked it to stop; with a `run_dir` it can be resumed.
        RunFailed: It cannot go on, for instance because a loss became NaN or the disk is full.

    Example:
        >>> import lifelong_rl
        >>> result = lifelong_rl.run(
        ...     sequence="reach,drawer-open", agent="bc", method="ewc", seed=0,
        ...     steps_per_task=64, num_envs=4, eval_episodes=2, eval_points=1,
        ... )
        >>> result.matrix.shape
        (3, 2)
        >>> sorted(result.metrics)[:2]
        ['average_performance', 'backward_transfer']
    """
    from lifelong_rl.learning.method import ContinualMethod
    from lifelong_rl.runs.loop import run_anew
    from lifelong_rl.runs.setup import prepare

    with _TURN, _undisturbed():
        given = method if isinstance(method, ContinualMethod) else None
        if given is not None:
            if "method_options" in options:
                raise UserError("method_options go with a method's name; an object has its own")
            method, options["method_options"] = _describe_method(given)
        if not isinstance(method, str):
            method = _register(METHODS, method, getattr(method, "__name__", None))
        if not isinstance(agent, str):
            agent = _register(AGENTS, agent, getattr(agent, "__name__", type(agent).__name__))
        if not isinstance(sequence, str):
            sequence = _register(SEQUENCES, sequence, getattr(sequence, "name", None))
        options |= {"sequence": sequence, "agent": agent, "method": method}
        config = RunConfig(**check_options(RunConfig, options, ""))
        setup = prepare(config, config.plugin, given)
        with _folder(run_dir) as path:
            run_anew(setup, path, reporter or _Warning())
            return RunResult(read_run(path), path if run_dir is not None else None)


def load_runs(paths: str | Path | Iterable[str | Path]) -> list[RunResult]:
    """Read the finished runs in some folders, at any depth.

    Nothing that a folder names is imported. A folder whose run is not finished, cannot be read or
    is a copy of another's is left out, with a warning that says so.

    Args:
        paths: A folder of runs, such as "runs", or several.

    Returns:
        What came of each, in the order of their paths.

    Raises:
        UserError: One of the folders does not exist.

    Example:
        >>> import lifelong_rl
        >>> small = dict(steps_per_task=64, num_envs=4, eval_episodes=2, eval_points=1)
        >>> for seed in range(2):
        ...     kept = lifelong_rl.run(
        ...         sequence="reach", agent="bc", seed=seed, run_dir=f"runs/{seed}", **small
        ...     )
        >>> [result.config.seed for result in lifelong_rl.load_runs("runs")]
        [0, 1]
    """
    listed = [paths] if isinstance(paths, (str, Path)) else paths
    runs, left_out = find_runs([Path(path).expanduser() for path in listed])
    for each in left_out:
        warnings.warn(f"{each.path} is left out: {each.reason}", stacklevel=2)
    return [RunResult(run, run.path) for run in runs]


run.__signature__ = Signature(  # type: ignore[attr-defined]  # for help and completion
    [
        *(p for p in Signature.from_callable(run).parameters.values() if p.name != "options"),
        *(
            Parameter(
                field.name,
                Parameter.KEYWORD_ONLY,
                default={} if field.default is MISSING else field.default,
                annotation=field.type,
            )
            for field in dataclasses.fields(RunConfig)
            if field.name not in ("sequence", "agent", "method")
        ),
    ],
    return_annotation=RunResult,
)


class _Warning(Reporter):
    """Gives a run's warnings as Python's."""

    def warn(self, text: str) -> None:
        """Warn."""
        warnings.warn(text, stacklevel=2)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave random generators and torch's number of threads as they were."""
    import torch

    from lifelong_rl.learning.seeding import preserved_generators

    threads = torch.get_num_threads()
    try:
        with preserved_generators():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _folder(run_dir: str | Path | None) -> Iterator[Path]:
    """Where a run writes; a temporary folder where none is to be kept."""
    if run_dir is not None:
        yield Path(run_dir).expanduser()
        return
    with TemporaryDirectory(prefix="lifelong-rl-") as temporary:
        try:
            yield Path(temporary) / "run"
        except RunStopped as stopped:
            raise RunStopped(f"stopped; {_NOT_KEPT}", stopped.exit_code) from stopped
        except RunFailed as failed:
            raise RunFailed(failed.problem, _NOT_KEPT) from failed


def _register(table: Registry, thing: Any, name: Any) -> str:
    """The name of an object; one that has none is registered under `name`.

    Raises:
        UserError: The name is not one that can be given, or is that of something else.
    """
    known = table.name_of(thing)
    if known is not None:
        return known
    if isinstance(name, str) and table.owner(name) not in (None, __name__):
        raise UserError(
            f"the {table.kind} name '{name}' is that of another, of {table.owner(name)}; give "
            f"this {table.kind} another name"
        )
    table.register(name)(thing)
    return str(name)


def _describe_method(method: ContinualMethod) -> tuple[str, dict[str, Any]]:
    """The name and the options by which `lifelong_rl.continual.make` makes such a method.

    Raises:
        UserError: It does not tell its options.
    """
    from lifelong_rl.continual.chain import Chain

    if method.made_as is not None:
        name, made_with = method.made_as
        return name, dict(made_with)
    if isinstance(method, Chain):
        parts = [_describe_method(part) for part in method.methods.values()]
        of_parts = {f"{name}.{o}": value for name, own in parts for o, value in own.items()}
        return "+".join(name for name, _ in parts), of_parts
    kind = type(method)
    options = {}
    for option in options_of(kind):
        owner = method.options if hasattr(method.options, option) else method
        if not hasattr(owner, option):
            raise UserError(
                f"{kind.__name__} does not tell its option '{option}', so that no run could be "
                "repeated; keep it as an attribute, or give the class and method_options"
            )
        options[option] = getattr(owner, option)
    return _register(METHODS, kind, kind.__name__), options
