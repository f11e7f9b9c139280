"""What the loop asks of a sequence of tasks and of its batched environments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lifelong_rl.errors import UnknownNameError, UserError
from lifelong_rl.registry import SEQUENCE_MAKERS, SEQUENCES, TASKS
from lifelong_rl.runs.contract import check_sequence
from lifelong_rl.runs.sequence_name import inline, name_of
from lifelong_rl.storage.dataset_cache import get_dataset

DEFAULT_STEPS_PER_TASK = 10_000
"""For sequences that do not tell how many steps their tasks need."""


class VecEnvLike(Protocol):
    """Several environments stepped together, as a Stable-Baselines3 `VecEnv` is.

    Observations end with the task one-hot. `seed(s)` followed by `reset()` starts exactly the
    same episodes again. An environment whose episode ends is reset by `step`; its info then
    holds `"episode"`: {"r": return, "l": length, "success": whether it succeeded at any step},
    where its task has no success a number "score" in place of that, and `"diverged": True` where
    the simulation became unstable. What is evaluated is held to this,
    see `lifelong_rl.runs.contract`.

    Those that a run can go on with within a task also have `state_dict()`, a state tree of all that
    the next steps and episodes depend on, and `load_state_dict(state)`, which goes on from there.

    Those whose tasks' actions differ in size also have `action_dims`: how many leading entries of
    an action count, for each position of the one-hot.

    Attributes:
        num_envs: Number of environments, as many as were asked for.
        observation_space: Of one environment.
        action_space: Of one environment.
    """

    num_envs: int
    observation_space: Any
    action_space: Any

    def seed(self, seed: int | None = None) -> Any:
        """Choose the episodes that start at the next `reset`."""
        ...

    def reset(self) -> Any:
        """Start an episode in every environment.

        Returns:
            Observations (n, obs_dim), as `observation_space` says and all finite.
        """
        ...

    def step(self, actions: np.ndarray) -> Any:
        """Observations (n, obs_dim), rewards (n,), dones (n,) of bool, and an info for each."""
        ...

    def close(self) -> None:
        """Release what the environments hold."""
        ...


@dataclass(frozen=True)
class Phase:
    """A stretch of a sequence in which one thing is learned.

    Attributes:
        tasks: Positions in `Sequence.tasks` of what is learned, one or several at once.
        steps: Environment steps; None for as many as a task of the sequence needs.
        announced: Whether the agent and the method are told that it begins. Where they are not,
            it is to them the same task as the phase before.
    """

    tasks: tuple[int, ...]
    steps: int | None = None
    announced: bool = True


class Sequence(Protocol):
    """Tasks to be learned one after another.

    It may also have

    - `steps_per_task`, the environment steps of each task unless the user gives another number,
    - `reordered(seed)`, the same tasks in another order,
    - `with_steps(steps)`, the same with so many steps in each of its phases, where more than these
      depends on them,
    - `assume_switch_every`, how many steps it announces a phase after, where it cuts phases,
    - `with_store(store)`, the same with another store of its datasets, such as
      `dataset_cache.get_dataset`,
    - `with_labels(amount, seed)`, the same with few labelled rows in each task: a share of them, or
      a whole number of each class; only where its tasks are labelled data,
    - `notes`, what should be known of its tasks, a line each,
    - `most_envs`, of a task that are evaluated at once, where each takes much memory,
    - `measures`, what is measured on each task: "success", "score" (a return mapped to [0, 1]) or
      "return",
    - `phases`, see `Phase`, where it is more than each task once; then also `heads`, the head that
      each task is learned with, (T,), `num_heads`, the length of the one-hot, and
      `make_phase_env(block, steps, *, num_envs, num_threads, seed)`, the environments of
      consecutive phases of which only the first is announced: they go on to the next phase by
      themselves, after the steps of each.

    Attributes:
        name: As registered.
        description: One line.
    """

    name: str
    description: str

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names in the order of learning; a name may come again."""
        ...

    @property
    def num_tasks(self) -> int:
        """Length of `tasks` and, without `phases`, of the task one-hot."""
        ...

    def make_env(self, task_id: int, *, num_envs: int, num_threads: int, seed: int) -> VecEnvLike:
        """Environments of task `task_id` (from 0).

        It may also take `observation`, "state" or "pixels", and how pictures look, as
        `lifelong_rl.envs.sequences.Sequence.make_env` does; without these its tasks cannot be
        learned by sight.
        """
        ...

    def versions(self) -> dict[str, str]:
        """Version of each task: it changes when results are no longer comparable."""
        ...


def load_sequence(name: str, order: int | None = None) -> Sequence:
    """The sequence called `name`; what is registered may be one or make one without arguments.

    Its datasets, if it has any, are kept in the user's cache: see `dataset_cache`.

    Args:
        name: Of a sequence, or of one or several tasks, joined by commas.
        order: Seed that shuffles its tasks.

    Raises:
        UnknownNameError: No such sequence.
        ContractError: What is registered is not a sequence.
        UserError: It names a task that does not exist, or cannot be reordered.
    """
    name = inline(name)
    found: Any = SEQUENCES.get(name) if name in SEQUENCES else _make_sequence(name)
    if isinstance(found, type) or (callable(found) and not hasattr(found, "make_env")):
        found = found()
    sequence: Sequence = found.with_store(get_dataset) if hasattr(found, "with_store") else found
    try:
        check_sequence(sequence, name)
    except ValueError as error:
        raise UserError(f"the sequence '{name_of(name)}' cannot be used: {error}") from error
    if order is None:
        return sequence
    if not hasattr(sequence, "reordered"):
        raise UserError(f"the sequence '{name_of(name)}' has only its own order; leave out --order")
    reordered: Sequence = sequence.reordered(order)
    return reordered


def _make_sequence(name: str) -> Any:
    """The sequence that a maker makes of a name, such as "reach,push"."""
    kind, colon, rest = name.partition(":")
    if not colon:
        kind, rest = "tasks", name
    if kind not in SEQUENCE_MAKERS:
        raise UnknownNameError("sequence", name, (*SEQUENCES, *TASKS))
    try:
        return SEQUENCE_MAKERS.get(kind)(rest)
    except UnknownNameError:
        raise
    except ValueError as error:
        raise UserError(f"the sequence '{name_of(name)}' cannot be used: {error}") from error


def name_environments(sequence: Sequence, task_id: int) -> str:
    """What to call the environments of a task in an error."""
    return f"task '{sequence.tasks[task_id]}' of the sequence '{sequence.name}'"


def steps_needed(sequence: Sequence) -> int:
    """Environment steps per task, unless the user gives them."""
    return int(getattr(sequence, "steps_per_task", DEFAULT_STEPS_PER_TASK))


def phases_of(sequence: Any) -> tuple[Phase, ...]:
    """The phases of a sequence: its own, or each task once."""
    own = getattr(sequence, "phases", None)
    if own is None:
        return tuple(Phase((task_id,)) for task_id in range(sequence.num_tasks))
    return tuple(Phase(tuple(p.tasks), p.steps, bool(p.announced)) for p in own)


def is_plain(phases: SequenceOf[Phase]) -> bool:
    """Whether each task is learned once, in the order of the tasks, for equally many steps."""
    return all(
        p.tasks == (k,) and p.announced and p.steps == phases[0].steps for k, p in enumerate(phases)
    )


def blocks_of(phases: SequenceOf[Phase]) -> tuple[range, ...]:
    """The phases that are one task to the agent: an announced one and those until the next."""
    begins = [k for k, phase in enumerate(phases) if phase.announced or k == 0]
    return tuple(map(range, begins, [*begins[1:], len(phases)]))


def head_of(sequence: Any, task_id: int) -> int:
    """The position of a task's one-hot."""
    heads = getattr(sequence, "heads", None)
    return task_id if heads is None else int(heads[task_id])


def num_heads(sequence: Any) -> int:
    """Length of the one-hot, and number of tasks as the agent knows them."""
    return int(getattr(sequence, "num_heads", sequence.num_tasks))


def measures_of(sequence: Any) -> tuple[str, ...]:
    """What is measured on each task: "success", "score" or "return"."""
    return tuple(getattr(sequence, "measures", ("success",) * sequence.num_tasks))


def task_labels(tasks: SequenceOf[str]) -> tuple[str, ...]:
    """Names that tell repeated ones apart: ("reach", "push", "reach") → "reach", …, "reach-2".

    A name that a task has is not given to another.
    """
    seen: Counter[str] = Counter()
    taken = set(tasks)
    labels = []
    for task in tasks:
        label = task
        seen[task] += 1
        while seen[task] > 1 and (label := f"{task}-{seen[task]}") in taken:
            seen[task] += 1
        taken.add(label)
        labels.append(label)
    return tuple(labels)


def phase_labels(labels: SequenceOf[str], phases: SequenceOf[Phase]) -> tuple[str, ...]:
    """Names of the phases, after the tasks that they learn; repeated ones are told apart."""
    return task_labels(["+".join(labels[task] for task in phase.tasks) for phase in phases])
