"""Rows of observations and the number of the task that each belongs to.

Environments of several tasks show the task as a one-hot at the end of each observation. In a batch
it is an entry of its own, "task" (n,) of int64, and observations are without it. With one task
there is neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from lifelong_rl.learning.protocols import Batch, StateTree
from lifelong_rl.networks.spec import rows_of_task

OBSERVATIONS = ("observations", "next_observations")
"""Entries of a batch that environments have shown."""


def count_rows(batches: Iterable[Batch]) -> int:
    """Number of rows of all batches."""
    return sum(len(next(iter(batch.values()))) for batch in batches)


def join_rows(batches: Iterable[Batch]) -> Batch:
    """The rows of batches with the same entries, at least one, one batch after the other."""
    listed = list(batches)
    return {name: torch.cat([batch[name] for batch in listed]) for name in listed[0]}


def take_rows(batch: Batch, index: Tensor) -> Batch:
    """Rows of a batch by their numbers, (n,) of int64 on any device."""
    index = index.to(next(iter(batch.values())).device)
    return {name: rows[index] for name, rows in batch.items()}


def split_task(rows: Tensor, num_tasks: int) -> tuple[Tensor, Tensor | None]:
    """Split rows as environments show them into inputs and tasks.

    Args:
        rows: (n, d), which end with the one-hot.
        num_tasks: Length of the one-hot; with 1 there is none.

    Returns:
        Inputs (n, d - num_tasks) and tasks (n,) of int64; `rows` and None with one task.
    """
    if num_tasks == 1:
        return rows, None
    return rows[:, :-num_tasks], rows[:, -num_tasks:].argmax(dim=1)


def split_batch(batch: Batch, num_tasks: int, known: int | None = None) -> Batch:
    """Make the task an entry of a batch whose observations are as environments show them.

    Args:
        batch: Has "observations" (n, d), and perhaps "next_observations" of the same tasks.
        num_tasks: Length of the one-hot; with 1 the batch stays as it is.
        known: The task of all rows, where it is known: the one-hot is then not looked at.
    """
    parted = dict(batch)
    if known is not None and num_tasks > 1:
        for name in OBSERVATIONS:
            if name in batch:
                parted[name] = batch[name].narrow(1, 0, batch[name].shape[1] - num_tasks)
        return with_task(parted, num_tasks, known)
    for name in OBSERVATIONS:
        if name in batch:
            parted[name], task = split_task(batch[name], num_tasks)
            if name == "observations" and task is not None:
                parted["task"] = task
    return parted


def with_task(batch: Batch, num_tasks: int, task: int | Tensor) -> Batch:
    """The rows of a batch as if they belonged to other tasks.

    What was sampled from the policy for the rows' own task is left out.

    Args:
        batch: Rows, (n, ...), with or without "task".
        num_tasks: With 1 the batch stays as it is.
        task: One task for all rows, or one for each, (n,) of int64.
    """
    if num_tasks == 1:
        return batch
    changed = {name: rows for name, rows in batch.items() if not name.startswith("policy_")}
    first = next(iter(changed.values()))
    n = first.shape[0]
    if isinstance(task, int):
        return {**changed, "task": rows_of_task(task, n, first.device)}
    ids = torch.as_tensor(task, dtype=torch.int64, device=first.device)
    return {**changed, "task": ids.expand(n)}


def split_old_rows(state: Any, num_tasks: int) -> Any:
    """Make the task an entry of all batches in a state that was saved when it was none.

    Args:
        state: A state tree, such as that of a method with memories. Batches in it are mappings with
            "observations" (n, d) that end with a one-hot; all else stays as it is.
        num_tasks: Length of the one-hot.
    """
    if isinstance(state, list):
        return [split_old_rows(each, num_tasks) for each in state]
    if not isinstance(state, Mapping):
        return state
    rows = state.get("observations")
    if isinstance(rows, Tensor) and "task" not in state and _ends_with_one_hot(rows, num_tasks):
        return {
            name: rows.contiguous() for name, rows in split_batch(dict(state), num_tasks).items()
        }
    tree: StateTree = {name: split_old_rows(each, num_tasks) for name, each in state.items()}
    return tree


def _ends_with_one_hot(rows: Tensor, num_tasks: int) -> bool:
    if rows.ndim != 2 or rows.shape[1] <= num_tasks:
        return False
    tail = rows[:, -num_tasks:]
    return bool((((tail == 0) | (tail == 1)).all(dim=1) & (tail.sum(dim=1) == 1)).all())
