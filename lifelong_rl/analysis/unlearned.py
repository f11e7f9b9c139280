"""Tasks that runs did not learn, and what of their diagnostics moved meanwhile."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lifelong_rl.analysis.comparison import reference_runs
from lifelong_rl.analysis.groups import METHODS_LAST, Group
from lifelong_rl.analysis.runs import Run
from lifelong_rl.analysis.scores import measure_learned
from lifelong_rl.analysis.significance import t_quantile
from lifelong_rl.analysis.tables import format_number
from lifelong_rl.metrics.matrix import LEARNED, learned, learning_rows
from lifelong_rl.storage.json_file import parse_json
from lifelong_rl.storage.plain_file import read_bytes

BELOW = 0.25
"""So far below runs that learned the task alone, it was not learned."""
FEWEST = 3
"""Fewer learned tasks do not tell what moves between learned tasks."""
CHANCE = 0.05
"""That anything is named in a task that is like the learned ones."""
RESOLUTION = 0.01
"""Learned tasks count as if they differed by this at least: a hundredth, or a percentage point."""
MOST_NAMED = 3
"""Quantities in a sentence."""
MOST_EXPLAINED = 30
"""Sentences about a section; nobody reads more."""
QUANTITIES = {
    "dormant_units": "dormant units",
    "srank": "srank",
    "weight_norm": "weight norm",
    "weight_magnitude": "weight magnitude",
    "stable_rank": "stable rank",
    "gradient_norm": "gradient norm",
    "churn": "churn",
    "curvature": "curvature",
    "curvature_rank": "directions of curvature",
}
"""What is compared between tasks, and what it is called."""
IN_LAYERS = {
    "dormant_units": "dormant_units",
    "gradient_norm": "gradient_norm",
    "weight_norm": "weight_magnitude",
}
"""What is left out where it is there for each layer, and as what."""
READING = (
    f"A task was not learned if success right after learning it is below {LEARNED}, or more than "
    f"{BELOW} below that of runs that learned it alone. What is named has a mean over the task "
    "that lies outside the prediction interval of the tasks that the same run learned, on either "
    f"side; were it like these, anything would be named with a chance of at most {CHANCE}. It "
    "moved while the task was not learned, and need not be the cause."
)
Means = Mapping[str, float]
"""By "COMPONENT/QUANTITY", or "COMPONENT/QUANTITY/LAYER", the mean over a task's measurements."""


@dataclass(frozen=True)
class Move:
    """A quantity that was elsewhere in a task than in the tasks that were learned.

    Attributes:
        name: Of the quantity, see `Means`.
        usual: Its mean over the learned tasks; the geometric mean where it is positive.
        value: In the task.
        distance: Between them, in standard deviations of what another task would differ by.
    """

    name: str
    usual: float
    value: float
    distance: float

    def __str__(self) -> str:
        """In words, without its component."""
        _, quantity, *layer = self.name.split("/")
        of = f" of {layer[0].replace('_', ' ')}" if layer else ""
        of = of.replace("of head", "of the head")
        way = "rose" if self.value > self.usual else "fell"
        usual, value = _format(quantity, self.usual, self.value)
        return f"{QUANTITIES[quantity]}{of} {way} from {usual} to {value}"


def describe_unlearned(groups: Sequence[Group]) -> list[str]:
    """A sentence for each run of a section and task that it did not learn, on what moved.

    References are left out, and where returns are measured, of which nobody knows what is enough.
    """
    sentences: list[str] = []
    several = len(groups) > 1 or len(groups[0].runs) > 1
    left = 0
    for group in groups:
        if group.method in METHODS_LAST or "return" in group.runs[0].measures:
            continue
        reference = reference_runs(group, groups)
        alone = None if reference is None else measure_learned(reference).mean(axis=0)
        for run in group.runs:
            prefix = f"{group.agent_label} with {group.method_label}, seed {run.seed}: "
            failed = _find_unlearned(run, alone)
            room = MOST_EXPLAINED - len(sentences)
            left += max(len(failed) - room, 0)
            if failed and room > 0:
                told = [*_describe_run(run, failed, alone)][:room]
                sentences += [prefix + one if several else one for one in told]
    if left:
        more = "1 more task was" if left == 1 else f"{left} more tasks were"
        sentences.append(f"{more} not learned in these runs.")
    return sentences


def find_moves(usual: Sequence[Means], here: Means) -> list[Move]:
    """The quantities that are elsewhere in a task than another task's would be, farthest first.

    A quantity moved if it lies outside the prediction interval for one more value beside the
    learned tasks', m ± t s √(1 + 1/n), on either side: m and s are mean and standard deviation of
    these, of their logarithms where all are positive and no shares, and t is Student's quantile
    for n − 1 degrees of freedom at `CHANCE` divided by the number of quantities (Bonferroni).

    Args:
        usual: Of each learned task.
        here: Of the task.
    """
    names = [*_comparable(usual, here)]
    if len(usual) < FEWEST or not names:
        return []
    n = len(usual)
    bound = t_quantile(1 - CHANCE / (2 * len(names)), n - 1)
    moves = []
    for name in names:
        values = np.array([*(means[name] for means in usual), here[name]])
        relative = name.split("/")[1] != "dormant_units" and bool((values > 0).all())
        scaled = np.log(values) if relative else values
        middle, spread = float(scaled[:-1].mean()), float(scaled[:-1].std(ddof=1))
        distance = (scaled[-1] - middle) / (max(spread, RESOLUTION) * math.sqrt(1 + 1 / n))
        if abs(distance) > bound:
            centre = math.exp(middle) if relative else middle
            moves.append(Move(name, centre, here[name], float(distance)))
    return sorted(moves, key=lambda move: -abs(move.distance))


def read_means(path: Path) -> dict[str, Means]:
    """What a run's log tells of each phase, by the phase's label; nothing where there is no log.

    Args:
        path: `metrics.jsonl`.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        lines = read_bytes(path).splitlines()
    except OSError:
        return {}
    for line in lines:
        if b'"diagnostics/' not in line:
            continue
        try:
            entry = parse_json(line, {"task": str, "values": {str: float | None}})
        except ValueError:  # cut off, or written by somebody else
            continue
        for name, value in entry["values"].items():
            kind, _, quantity = name.partition("/")
            if kind == "diagnostics" and value is not None and quantity.isprintable():
                # as earlier versions called it
                quantity = quantity.replace("/effective_rank", "/srank")
                found[entry["task"]][quantity].append(value)
    return {
        task: {name: float(np.mean(values)) for name, values in by_name.items()}
        for task, by_name in found.items()
    }


def _find_unlearned(run: Run, alone: np.ndarray | None) -> list[int]:
    """The columns of the tasks that were not learned; of those learned together none is told."""
    success = learned(run.matrix, run.phases)
    failed = success < LEARNED
    if alone is not None:
        failed |= alone - success > BELOW
    _, last = learning_rows(len(run.tasks), run.phases)
    by_itself = np.array([len(run.phases[row - 1]) == 1 for row in last])
    return [int(j) for j in np.flatnonzero(failed & by_itself)]


def _describe_run(run: Run, failed: Sequence[int], alone: np.ndarray | None) -> Iterator[str]:
    """A sentence for each task that a run did not learn."""
    success = learned(run.matrix, run.phases)
    _, last = learning_rows(len(run.tasks), run.phases)
    means = read_means(run.path / "metrics.jsonl")
    labels = [run.phase_labels[row - 1] for row in last]
    usual = [
        means[labels[j]]
        for j, row in enumerate(last)
        if j not in failed and len(run.phases[row - 1]) == 1 and labels[j] in means
    ]
    for j in failed:
        reached = format_number(success[j])
        if alone is not None:
            reached += f"; alone {format_number(alone[j])}"
        told = _explain(usual, means.get(labels[j]))
        yield f"{run.tasks[j]} was not learned ({reached}): {told}."


def _explain(usual: Sequence[Means], here: Means | None) -> str:
    """What moved, in words."""
    if here is None:
        return "no diagnostics were logged that could tell what moved"
    count = len(usual)
    if count < FEWEST:
        learned = f"{count} learned task{'s' * (count != 1)}"
        return f"with {learned} beside it, what moved cannot be told"
    moves = find_moves(usual, here)
    if not moves:
        return (
            "nothing that was measured moved beyond what it moves between the "
            f"{count} learned tasks"
        )
    by_component: dict[str, list[str]] = defaultdict(list)
    for move in moves[:MOST_NAMED]:
        by_component[move.name.partition("/")[0]].append(str(move))
    told = "; ".join(f"in the {name}, {' and '.join(each)}" for name, each in by_component.items())
    more = len(moves) - MOST_NAMED
    return f"{told}; {more} more moved" if more > 0 else told


def _comparable(usual: Sequence[Means], here: Means) -> Iterator[str]:
    """What is known of all tasks, once: of each layer, or else of all together."""
    names = [name for name in here if all(name in means for means in usual)]
    of_layers = {name.rpartition("/")[0] for name in names if name.count("/") == 2}
    for name in names:
        component, _, quantity = name.partition("/")
        kind = quantity.partition("/")[0]
        if kind in QUANTITIES and f"{component}/{IN_LAYERS.get(quantity)}" not in of_layers:
            yield name


def _format(quantity: str, *values: float) -> list[str]:
    """Shares in percent, anything else with as many digits as tell values apart, two or three."""
    if quantity == "dormant_units":
        return [f"{100 * value:.0f} %" for value in values]
    for digits in (2, 3):
        told = [f"{v:.0f}" if abs(v) >= 100 else f"{v:.{digits}g}" for v in values]
        if len(set(told)) > 1:
            break
    return told
