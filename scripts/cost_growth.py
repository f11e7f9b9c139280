"""Measure what each method costs as tasks are learned: time and memory, for 1 to 100 tasks.

    python scripts/cost_growth.py --out runs/cost_growth --json docs/results/cost_growth.json
    python scripts/cost_growth.py --json docs/results/cost_growth.json --page docs/cost.md

The first command measures. Each method learns 100 tasks, those of `arm10` ten times over, with
hardly any experience in each and without evaluation, in a process of its own. A method that has
left its file in --out is not measured again. The second command makes the page and its figures of
the committed numbers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.ticker import NullFormatter

from lifelong_rl.analysis.figures import MARKERS, PALETTE, WIDTH, Drawing, Figure, styled
from lifelong_rl.analysis.files import write_drawings
from lifelong_rl.continual import METHODS
from lifelong_rl.learning.seeding import seed_everything
from lifelong_rl.registry import SEQUENCES
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.measurements import Measurements
from lifelong_rl.runs.setup import Setup, prepare
from lifelong_rl.storage.atomic import write_file, write_json
from lifelong_rl.storage.state_tree import tensor_bytes
from lifelong_rl.storage.versions import cpu_model, versions

TASKS = 100
LENGTHS = (10, 20, 50, 100)
"""Numbers of tasks of the sequences that show what grows with a sequence's length."""
FIRST_FITTED = 20
"""Growth is fitted to this task and those after it."""
SHOWN = 2, 20, 100
"""Tasks that tables show: the first that comes after another, and the ends of what is fitted."""
LEAST_SHARE, ERRORS = 0.1, 3.0
"""A term counts if it makes up this share of the cost at the last task, and is this many standard
errors from zero."""
TIMED = 3, 5
"""The last of the first tasks, which are all timed, and the step between those timed after them."""
STEPS, BATCH_SIZE = 128, 128
TURNS, OWN_UPDATES, MOST_SECONDS = 8, 2, 2.0
"""Turns in a task, updates of the method in each, and seconds of its own after which no new turn
begins."""
SAC = {
    "batch_size": BATCH_SIZE,
    "buffer_size": 100_000,
    "learning_starts": STEPS - 16,
    "updates_per_step": 1 / 16,
}
SMALLER: dict[str, dict[str, Any]] = {
    "den": {"selection_updates": 2},
    "generative-replay": {"updates": 50},
    "ogd": {"per_task": 10},
    "reset-and-distill": {"updates": 50},
}
"""Options that differ from a method's defaults, so that 100 tasks take a minute."""


@dataclass(frozen=True)
class Growth:
    """How a cost grows.

    Attributes:
        kind: "constant", "linear", "quadratic", "levelling off" or "falling".
        exponent: Slope of the logarithm of the cost over that of the number of tasks; a part of
            the cost that does not grow makes it less than the exponent of the part that does. None
            where a cost is zero.
        exponent_error: Its standard error.
        constant: The part of the cost at the last task that does not grow, as a share.
    """

    kind: str
    exponent: float | None
    exponent_error: float | None
    constant: float


def fit_growth(tasks: Sequence[float], costs: Sequence[float]) -> Growth:
    """Tell how a cost grows with the number of tasks.

    Polynomials of degree 2, 1 and 0 are fitted by least squares. The first of them whose leading
    term counts (`LEAST_SHARE`, `ERRORS`) says how the cost grows. A negative quadratic term that
    counts, beside a linear one, is growth that levels off.

    Args:
        tasks: Numbers of tasks, at least 4 different ones.
        costs: One for each, not negative.
    """
    x = np.asarray(tasks, dtype=np.float64) / max(tasks)
    y = np.asarray(costs, dtype=np.float64)
    exponent, error = None, None
    if (y > 0).all():
        slope, slope_error = _least_squares(np.log(x), np.log(y), 1)
        exponent, error = float(slope[1]), float(slope_error[1])
    curved, curved_errors = _least_squares(x, y, 2)
    straight, straight_errors = _least_squares(x, y, 1)
    grows = _counts(straight, straight_errors)
    bends = _counts(curved, curved_errors)
    if grows and straight[1] < 0:
        kind, constant = "falling", 1.0
    elif bends and curved[2] > 0:
        kind, constant = "quadratic", curved[0] / curved.sum()
    elif grows:
        kind, constant = "levelling off" if bends else "linear", straight[0] / straight.sum()
    else:
        kind, constant = "constant", 1.0
    return Growth(kind, exponent, error, float(np.clip(constant, 0.0, 1.0)))


def _least_squares(x: np.ndarray, y: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of a polynomial, from degree 0 up, and their standard errors."""
    powers = np.vander(x, degree + 1, increasing=True)
    coefficients = np.linalg.lstsq(powers, y, rcond=None)[0]
    rest = y - powers @ coefficients
    variance = rest @ rest / (len(x) - degree - 1)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(powers.T @ powers)))
    return coefficients, errors


def _counts(coefficients: np.ndarray, errors: np.ndarray) -> bool:
    """Whether the leading term counts, given a polynomial on [0, 1]."""
    last, total = coefficients[-1], coefficients.sum()
    return bool(abs(last) >= LEAST_SHARE * abs(total) and abs(last) > ERRORS * errors[-1])


@dataclass(frozen=True)
class Expected:
    """What a method's code, and the paper it is from, say must grow with the tasks learned.

    Attributes:
        update: How the time of an update grows.
        switch: How the time of `begin_task` and `end_task` does.
        memory: How what the method keeps of old tasks does.
        because: Why.
    """

    update: str
    switch: str
    memory: str
    because: str


ONE_SUM = "one sum over the old tasks"
COPIED = "rows of each task; the whole memory is copied when a task's rows are added"
EXPECTED = {
    "finetune": Expected("constant", "constant", "constant", "keeps nothing"),
    "joint": Expected(
        "constant", "constant", "constant", "keeps nothing; the agent keeps its replay buffer"
    ),
    "single-task": Expected(
        "constant", "constant", "constant", "one network is evaluated; all are there from the start"
    ),
    "perfect-memory": Expected("constant", "linear", "linear", COPIED),
    "l2": Expected("constant", "constant", "constant", "the last parameters"),
    "l2-init": Expected("constant", "constant", "constant", "the initial parameters"),
    "merge": Expected("constant", "constant", "constant", "the merged parameters"),
    "shrink-and-perturb": Expected("constant", "constant", "constant", "the initial parameters"),
    "reset": Expected("constant", "constant", "constant", "the initial parameters"),
    "reset-and-distill": Expected(
        "constant", "linear", "linear", f"the initial parameters; {COPIED}; distils at a switch"
    ),
    "c-chain": Expected("constant", "constant", "constant", "keeps nothing of old tasks"),
    "ewc": Expected("constant", "constant", "constant", ONE_SUM),
    "mas": Expected("constant", "constant", "constant", ONE_SUM),
    "si": Expected("constant", "constant", "constant", ONE_SUM),
    "vcl": Expected("constant", "constant", "constant", "the last posterior"),
    "lwf": Expected("constant", "constant", "constant", "the last parameters; one task for a row"),
    "generative-replay": Expected(
        "constant", "constant", "constant", "the last parameters and one generator of all tasks"
    ),
    "continual-backprop": Expected(
        "constant", "constant", "constant", "running averages of the units"
    ),
    "parseval": Expected("constant", "constant", "constant", "keeps nothing"),
    "redo": Expected("constant", "constant", "constant", "keeps a count of updates"),
    "replay": Expected("constant", "linear", "linear", COPIED),
    "clone": Expected("constant", "linear", "linear", COPIED),
    "agem": Expected("constant", "linear", "linear", f"one reference gradient; {COPIED}"),
    "gem": Expected(
        "quadratic",
        "linear",
        "linear",
        f"a gradient for each old task, and products of all pairs of them; {COPIED}",
    ),
    "ogd": Expected("linear", "linear", "linear", "a basis with vectors of each task"),
    "rgo": Expected("constant", "constant", "constant", ONE_SUM),
    "packnet": Expected("constant", "constant", "constant", "one mask for the task at hand"),
    "lora": Expected(
        "constant",
        "constant",
        "constant",
        "one task's adapters are evaluated; all are there from the start",
    ),
    "soft-sharing": Expected(
        "constant",
        "linear",
        "constant",
        "one network is evaluated; when a task begins, the mean of those that are learned",
    ),
    "progressive": Expected(
        "quadratic",
        "constant",
        "constant",
        "each column is evaluated, and reads all before it; all are there from the start",
    ),
    "componet": Expected(
        "linear",
        "constant",
        "constant",
        "each module is evaluated, beside which attention to those before is little; all are there "
        "from the start",
    ),
    "den": Expected(
        "quadratic",
        "quadratic",
        "constant",
        "products of all units so far; those to come are there, and masked, from the start",
    ),
    "icarl": Expected(
        "constant",
        "linear",
        "constant",
        "a fixed number of exemplars in all; the mean of each class is anew",
    ),
}


def make_setup(method: str, tasks: int) -> Setup:
    """What a method learns: SAC on the arm or, where it needs labels, the classifier on digits."""
    needs_labels = "class labels" in getattr(METHODS.get(method), "needs", ())
    name = f"{'digits' if needs_labels else 'arm'}-{tasks}"
    SEQUENCES.register(name)(_repeat(name, tasks, needs_labels))
    return prepare(
        RunConfig(
            sequence=name,
            agent="classifier" if needs_labels else "sac",
            method=method,
            steps_per_task=STEPS,
            num_envs=1 if needs_labels else 16,
            num_threads=1,
            threads=1,
            agent_options={"updates_per_step": 4 / STEPS} if needs_labels else SAC,
            method_options=SMALLER.get(method, {}),
        )
    )


def _repeat(name: str, tasks: int, labelled: bool) -> Any:
    """A sequence of this length: the tasks of another over and over."""
    source: Any = SEQUENCES.get("permuted-digits" if labelled else "arm10")
    field = "problems" if labelled else "tasks"
    once = getattr(source, field)
    return replace(source, **{"name": name, field: (-(-tasks // len(once)) * once)[:tasks]})


def measure(method: str, tasks: int, learned: int, show: bool = False) -> list[dict[str, Any]]:
    """Learn the first tasks of a sequence, and measure what those that are timed cost.

    Args:
        method: Its name.
        tasks: Length of the sequence.
        learned: How many of its tasks to learn.
        show: Print a line for every twentieth task.
    """
    torch.set_num_threads(1)
    setup = make_setup(method, tasks)
    env = setup.make_env(0)
    agent: Any
    agent, made = setup.build_agent(env)
    reference: Any = setup.build_reference(env)
    found = []
    for task_id in range(learned):
        if task_id and not setup.interleaves:
            env.close()
            env = setup.make_env(task_id)
        seed_everything(0, 1 + task_id)
        env.seed(setup.env_seed(task_id))
        began = time.thread_time()
        agent.begin_task(0 if setup.interleaves else task_id, env)
        switch = time.thread_time() - began
        agent.learn_task(setup.phase_steps[0], lambda steps: None)
        timed = task_id < TIMED[0] or (task_id + 1) % TIMED[1] == 0
        if timed:
            reference.borrow_data(agent)
            found.append({"task": task_id + 1, **_time_updates(agent, reference)})
        began = time.thread_time()
        agent.end_task()
        switch += time.thread_time() - began
        if timed:
            size = Measurements()
            size.add_size(agent.components.values(), made)
            found[-1] |= {
                "switch_ms": round(1000 * switch, 2),
                "memory_bytes": size.memory_bytes[0],
                "parameters": size.parameters[0],
                "checkpoint_bytes": tensor_bytes(agent.state_dict()),
                "peak_bytes": peak_memory(),
            }
            if show and (task_id + 1) % 20 == 0:
                print(f"{method:>18} {found[-1]}", flush=True)
    env.close()
    return found


def _time_updates(agent: Any, reference: Any) -> dict[str, Any]:
    """Time updates in turns with those of plain fine-tuning on the same data."""
    own: list[float] = []
    plain: list[float] = []
    reference.rehearse(1)
    while len(own) < TURNS and sum(own) * OWN_UPDATES < MOST_SECONDS:
        for learner, updates, times in ((agent, OWN_UPDATES, own), (reference, 1, plain)):
            began = time.thread_time()
            learner.rehearse(updates)
            times.append((time.thread_time() - began) / updates)
    ratios = [a / b for a, b in zip(own, plain, strict=True)]
    return {
        "update_ms": round(1000 * statistics.median(own), 3),
        "finetune_ms": round(1000 * statistics.median(plain), 3),
        "ratio": round(statistics.median(ratios), 3),
    }


def peak_memory() -> int:
    """The most memory that this process has had resident so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # where getrusage also counts the process that started this one
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure_method(method: str, file: Path) -> None:
    """Measure all of one method, and write its file."""
    began = time.process_time()
    found = measure(method, TASKS, TASKS, show=True)
    by_length = {}
    for length in LENGTHS:
        costs = found if length == TASKS else measure(method, length, 2)
        by_length[str(length)] = {key: costs[1][key] for key in ("ratio", "parameters")}
    config = make_setup(method, TASKS).config
    seconds = round(time.process_time() - began)
    write_json(
        file,
        {
            "agent": config.agent,
            "sequence": "permuted-digits" if config.agent == "classifier" else "arm10",
            "smaller": SMALLER.get(method, {}),
            "cpu_seconds": seconds,
            "tasks": {key: [costs[key] for costs in found] for key in found[0]},
            "by_length": by_length,
        },
    )


def gather(folder: Path, command: str) -> dict[str, Any]:
    """All that was measured, and how each cost grows."""
    done = {
        method: json.loads((folder / f"{method}.json").read_text(encoding="utf-8"))
        for method in METHODS.names()
        if (folder / f"{method}.json").exists()
    }
    for one in done.values():
        one["growth"] = describe_growth(one)
    return {
        "command": command,
        "cpu": cpu_model(),
        "versions": versions(),
        "missing": [method for method in METHODS.names() if method not in done],
        "methods": done,
    }


def describe_growth(one: Mapping[str, Any]) -> dict[str, Any]:
    """How each cost of a method grows, with the tasks learned and with the sequence's length."""
    costs = one["tasks"]
    fitted = [k for k, task in enumerate(costs["task"]) if task >= FIRST_FITTED]
    tasks = [costs["task"][k] for k in fitted]
    growth = {
        key: asdict(fit_growth(tasks, [costs[key][k] for k in fitted]))
        for key in ("ratio", "switch_ms", "memory_bytes", "checkpoint_bytes")
    }
    by_length = [one["by_length"][str(length)]["parameters"] for length in LENGTHS]
    growth["parameters_by_length"] = asdict(fit_growth(LENGTHS, by_length))
    return growth


def make_page(measured: Mapping[str, Any], folder: str) -> str:
    """The page as Markdown, with all its numbers from what was measured.

    Args:
        measured: See `gather`.
        folder: Where the figures are, from the page.
    """
    methods = measured["methods"]
    parts = [
        INTRODUCTION.format(tasks=TASKS),
        "Made by\n\n    " + measured["command"],
    ]
    if measured["missing"]:
        parts.append(
            f"Not measured yet: {', '.join(measured['missing'])}. The same command goes on with "
            "them; the tables below are of the others."
        )
    parts += [
        "\n".join(_summary(methods)),
        RULE.format(first=FIRST_FITTED, share=LEAST_SHARE, errors=ERRORS),
        UPDATES.format(turns=TURNS),
        f"![Time of an update by tasks learned]({folder}/update.svg)",
        "\n".join(_update_table(methods)),
        SWITCHES,
        "\n".join(_switch_table(methods)),
        MEMORY,
        f"![What a method keeps by tasks learned]({folder}/memory.svg)",
        "\n".join(_memory_table(methods)),
        LENGTH.format(lengths=", ".join(map(str, LENGTHS))),
        "\n".join(_length_table(methods)),
        LIMITS.format(rows=STEPS, smaller=_describe_smaller(methods), batch=BATCH_SIZE),
        f"Processor: {measured['cpu']}, one thread. Versions: "
        + ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
        + ".",
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _summary(methods: Mapping[str, Any]) -> Iterator[str]:
    """How each cost grows with the tasks learned, beside what has to grow."""
    rows = []
    for method, expected in sorted(EXPECTED.items()):
        growth = methods[method]["growth"] if method in methods else {}
        cells = [
            _beside(growth[key]["kind"], said) if growth else f"not measured ({said})"
            for key, said in (
                ("ratio", expected.update),
                ("switch_ms", expected.switch),
                ("memory_bytes", expected.memory),
            )
        ]
        rows.append([f"`{method}`", *cells, expected.because])
    yield from _table(["method", "update", "switch", "memory", "because"], rows, left=5)


def _beside(found: str, said: str) -> str:
    shown = found if found == "constant" else f"**{found}**"
    return shown if found == said else f"{shown} ({said})"


def _update_table(methods: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for method, one in methods.items():
        growth = one["growth"]["ratio"]
        rows.append(
            [
                f"`{method}`",
                *(f"{cost:.3g}" for cost in _shown(one, "update_ms")),
                *(f"{cost:.2f}" for cost in _shown(one, "ratio")),
                _exponent(growth),
                f"{growth['constant']:.0%}",
            ]
        )
    header = [f"{what}, task {task}" for what in ("ms", "ratio") for task in SHOWN]
    yield from _table(["method", *header, "exponent", "constant part"], rows)


def _switch_table(methods: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for method, one in methods.items():
        growth = one["growth"]["switch_ms"]
        rows.append(
            [
                f"`{method}`",
                *(f"{cost:.3g}" for cost in _shown(one, "switch_ms")),
                _exponent(growth),
                f"{growth['constant']:.0%}",
            ]
        )
    header = [f"ms, task {task}" for task in SHOWN]
    yield from _table(["method", *header, "exponent", "constant part"], rows)


def _memory_table(methods: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for method, one in methods.items():
        growth = one["growth"]
        checkpoint, peak = _shown(one, "checkpoint_bytes"), _shown(one, "peak_bytes")
        rows.append(
            [
                f"`{method}`",
                *(f"{cost / 1e6:.3g}" for cost in _shown(one, "memory_bytes")),
                _exponent(growth["memory_bytes"]),
                *(f"{checkpoint[k] / 1e6:.3g}" for k in (0, -1)),
                growth["checkpoint_bytes"]["kind"],
                *(f"{peak[k] / 1e6:.0f}" for k in (0, -1)),
            ]
        )
    ends = SHOWN[0], SHOWN[-1]
    header = [
        *(f"kept, task {task}" for task in SHOWN),
        "exponent",
        *(f"checkpoint, task {task}" for task in ends),
        "grows",
        *(f"resident, task {task}" for task in ends),
    ]
    yield from _table(["method", *header], rows)


def _length_table(methods: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    header: list[str] = []
    for method, one in methods.items():
        lengths = list(one["by_length"])
        header = [
            "method",
            *(f"parameters, {length} tasks" for length in lengths),
            "grow",
            *(f"ratio, {length} tasks" for length in lengths),
        ]
        rows.append(
            [
                f"`{method}`",
                *(_count(one["by_length"][length]["parameters"]) for length in lengths),
                one["growth"]["parameters_by_length"]["kind"],
                *(f"{one['by_length'][length]['ratio']:.2f}" for length in lengths),
            ]
        )
    yield from _table(header, rows)


def _shown(one: Mapping[str, Any], key: str) -> list[float]:
    """A cost in the tasks that tables show."""
    costs = one["tasks"]
    return [costs[key][costs["task"].index(task)] for task in SHOWN]


def _exponent(growth: Mapping[str, Any]) -> str:
    if growth["exponent"] is None:
        return ""
    return f"{growth['exponent']:.2f} ± {growth['exponent_error']:.2f}"


def _count(number: int) -> str:
    return f"{number / 1e6:.3g} M" if number >= 1e6 else f"{number / 1e3:.3g} k"


def _describe_smaller(methods: Mapping[str, Any]) -> str:
    told = [
        f"`{method}` {option} {value}"
        for method, one in methods.items()
        for option, value in one["smaller"].items()
    ]
    return ", ".join(told) or "none"


def _table(header: list[str], rows: list[list[str]], left: int = 1) -> Iterator[str]:
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * left + "--:|" * (len(header) - left)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def draw(measured: Mapping[str, Any]) -> list[Drawing]:
    """The figures: the time of an update, and what is kept, over the tasks learned."""
    methods = measured["methods"]
    times = {
        method: (one["tasks"]["task"], one["tasks"]["ratio"]) for method, one in methods.items()
    }
    kept = {
        method: (one["tasks"]["task"], [size / 1e6 for size in one["tasks"]["memory_bytes"]])
        for method, one in methods.items()
        if one["tasks"]["memory_bytes"][-1] > 0
    }
    growing = {
        key: [m for m, one in methods.items() if one["growth"][key]["kind"] != "constant"]
        for key in ("ratio", "memory_bytes")
    }
    return [
        _draw_lines(
            "update",
            "Time of an update over that of fine-tuning, by tasks learned; both axes are "
            "logarithmic, and methods that do not grow are grey.",
            "time of an update / fine-tuning's",
            times,
            growing["ratio"],
        ),
        _draw_lines(
            "memory",
            "What a method keeps of old tasks in MB, by tasks learned; both axes are logarithmic, "
            "and methods that do not grow are grey.",
            "MB kept of old tasks",
            kept,
            growing["memory_bytes"],
        ),
    ]


def _draw_lines(
    name: str,
    caption: str,
    called: str,
    lines: Mapping[str, tuple[Sequence[int], Sequence[float]]],
    growing: Sequence[str],
) -> Drawing:
    with styled():
        figure = Figure(figsize=(WIDTH + 0.6, 3.4), layout="constrained")
        axes = figure.subplots()
        for method, (tasks, values) in lines.items():
            if method in growing:
                index = growing.index(method)
                axes.plot(
                    tasks,
                    values,
                    color=PALETTE[index % len(PALETTE)],
                    marker=MARKERS[index % len(MARKERS)],
                    markersize=4,
                    linewidth=1.3,
                    label=method,
                )
            else:
                axes.plot(tasks, values, color="#bbbbbb", linewidth=0.8, zorder=0)
        axes.set(xscale="log", yscale="log", xlabel="tasks learned", ylabel=called)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        if growing:
            figure.legend(loc="outside right center")
        return Drawing(name, caption, figure)


INTRODUCTION = """
# Cost as tasks are learned

Each method learned {tasks} tasks, those of `arm10` over and over, with hardly any experience in
each; `icarl`, which needs labels, those of `permuted-digits`, as a classifier. *Update* is the CPU
time of an update over that of plain fine-tuning on the same data, timed in turns. *Switch* is the
CPU time of beginning and ending a task. *Memory* is what the method keeps of old tasks, as a run
reports it. What grows with every task learned, and as what:
"""
RULE = """
A polynomial of the number of tasks is fitted to each cost from task {first} on. It is quadratic or
linear where that term makes up at least {share:.0%} of the last task's cost and is {errors:.0f}
standard errors from zero; anything less is constant. Where two words stand, the first is what was
measured, and the second, in brackets, what the code says.
"""
UPDATES = """
## An update

CPU milliseconds of an update, the median of {turns} turns, and the ratio to fine-tuning's. The
exponent is the slope of the logarithm of the ratio over that of the number of
tasks. The constant part is that of the fitted cost of the last task that does not grow.
"""
SWITCHES = """
## Between two tasks

CPU milliseconds of `begin_task` and `end_task`. Those of fine-tuning are what the agent itself
takes.
"""
MEMORY = """
## Memory

What is kept of old tasks, the tensors of a checkpoint, and the most memory that the process has had
resident so far, in MB. The libraries and a second agent, that of fine-tuning, are in the latter. So
are holes in the heap: what `ewc`, `mas` and `rgo` free after a task, gradients of 128 rows at a
time, is not all given back to the system, though nothing is kept of it.
"""
LENGTH = """
## The length of the sequence

Networks and what belongs to their parameters do not grow while a run goes on: heads, columns and
units of all tasks are there from the start, so that checkpoints, target networks and optimizers
need not grow. They grow with the length of the sequence instead. Here are sequences of {lengths}
tasks: parameters, and the time of an update in the second task over that of fine-tuning, which has
as many heads.
"""
LIMITS = """
## What this does not show

A task brings {rows} rows here. A memory that keeps `per_task` rows of a task is so much smaller
than at its default, and what is computed on a task's rows at its end is faster; neither changes as
what they grow. The batch size is {batch}; options other than the defaults are {smaller}.

Evaluation is left out. A run evaluates all tasks of its sequence after each of them: with T tasks
that is T (T + 1) evaluations, whatever the method.
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure the methods that have not been measured yet, or make the page."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--methods", nargs="+", default=METHODS.names(), choices=METHODS.names())
    parser.add_argument("--out", type=Path, default=Path("runs/cost_growth"), help="of methods")
    parser.add_argument("--json", type=Path, required=True, help="file of the figures")
    parser.add_argument("--page", type=Path, help="only make this page of them")
    args = parser.parse_args(arguments)
    if args.page:
        measured = json.loads(args.json.read_text(encoding="utf-8"))
        write_file(args.page, make_page(measured, args.page.stem).encode())
        write_drawings(args.page.with_suffix(""), draw(measured))
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    command = f"python scripts/cost_growth.py --out {args.out} --json {args.json}"
    for method in args.methods:
        file = args.out / f"{method}.json"
        if not file.exists():
            process = spawn.Process(target=measure_method, args=(method, file))
            process.start()
            process.join()
            if process.exitcode:
                print(f"{method:>18} failed: the process ended with {process.exitcode}")
        write_json(args.json, gather(args.out, command))
    measured = gather(args.out, command)
    print("\n".join(_summary(measured["methods"])))
    return int(bool(measured["missing"]))


if __name__ == "__main__":
    sys.exit(main())
