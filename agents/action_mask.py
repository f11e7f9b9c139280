"""Which entries of an action count, where the tasks' actions differ in size.

Actions of all tasks have the size of the largest; a task reads the first entries of it, and the
others are padding. Environments tell by `action_dims` how many count for each position of the task
one-hot. Padding is 0 wherever actions are sampled, acted, stored or given to a critic, and adds
nothing to densities, entropies and losses, so that no gradient reaches what makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.errors import ContractError
from lifelong_rl.learning import Batch
from lifelong_rl.networks.spec import of_task


class ActionMask(nn.Module):
    """The entries that count, for each task. It is no part of a saved state: environments tell it.

    Args:
        action_dims: How many leading entries count, for each task.
        action_dim: Entries of an action.

    Attributes:
        rows: 1 where an entry counts and 0 where it does not, (num_tasks, action_dim).
    """

    rows: Tensor

    def __init__(self, action_dims: Sequence[int], action_dim: int) -> None:
        super().__init__()
        counts = torch.tensor(action_dims).unsqueeze(1)
        rows = (torch.arange(action_dim) < counts).float()
        self.register_buffer("rows", rows, persistent=False)

    def of(self, task: Tensor | None) -> Tensor:
        """The mask of each row's task: (n, action_dim), or (1, action_dim) where all are of one."""
        return of_task(self.rows, task)

    def forward(self, values: Tensor, task: Tensor | None) -> Tensor:
        """Values (n, action_dim) of the entries that count; 0 for the others."""
        return values * self.of(task)


def make_mask(action_dims: Sequence[int] | None, action_dim: int) -> ActionMask | None:
    """The mask of actions; None where all entries count, see `action_dims_of`."""
    return None if action_dims is None else ActionMask(action_dims, action_dim)


def action_dims_of(env: Any, num_tasks: int) -> tuple[int, ...] | None:
    """How many leading entries of an action count in each task; None where all do.

    Args:
        env: Environments; those that tell have `action_dims`.
        num_tasks: Length of the task one-hot; 1 for none.

    Raises:
        ContractError: What they tell is no number of entries for each task.
    """
    told = getattr(env, "action_dims", None)
    if told is None:
        return None
    (size,) = env.action_space.shape
    if len(told) != num_tasks or not all(1 <= dim <= size for dim in told):
        raise ContractError(
            "the environments",
            f"action_dims is {told!r}, not a number of entries from 1 to {size} for each of "
            f"{num_tasks} tasks",
        )
    return None if all(dim == size for dim in told) else tuple(map(int, told))


def mask_actions(batch: Batch, mask: ActionMask | None) -> Batch:
    """A batch in whose "actions" (n, action_dim) the entries that do not count are 0."""
    if mask is None:
        return batch
    return {**batch, "actions": mask(batch["actions"], batch.get("task"))}


def mean_squared_error(
    found: Tensor, wanted: Tensor, task: Tensor | None, mask: ActionMask | None
) -> Tensor:
    """Mean over rows of the mean squared error over the entries that count.

    Args:
        found: Actions (n, action_dim).
        wanted: Those that they should be, (n, action_dim).
        task: Of each row, (n,) of int64; None with one task.
        mask: The entries that count; None for all.
    """
    if mask is None:
        return F.mse_loss(found, wanted)
    kept = mask.of(task)
    return (((found - wanted).square() * kept).sum(dim=1) / kept.sum(dim=1)).mean()
