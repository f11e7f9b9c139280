"""Losses of labelled rows, and the weights of rows and of tasks in them: functions of tensors.

A loss has an entry for each row, (n,), which depends on that row and the network alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.learning import Batch

RowLosses = Callable[[Tensor, Tensor], Tensor]
"""Takes logits (n, classes) and labels (n,) of int64, and returns the losses of the rows, (n,)."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the softmax of the logits, (n,); see `RowLosses`."""
    return F.cross_entropy(logits, labels, reduction="none")


def anchor_loss(logits: Tensor, labels: Tensor, *, gamma: float, slack: float) -> Tensor:
    """Binary cross-entropies whose scale follows how hard a row is.

    With q_k the sigmoid of logit k, and * the class of the label, the loss of a row is
    -log q_* - Σ_{k ≠ *} (1 + q_k - a)^γ log(1 - q_k). The anchor a = max(0, q_* - δ) is a constant:
    no gradient goes through it, and one does through the other q_k in the scale. A wrong class that
    is more probable than the right one counts for more, one that is less probable for less.

    Args:
        logits: (n, classes).
        labels: (n,) of int64.
        gamma: γ, at least 0; with 0 it is the binary cross-entropy, summed over classes.
        slack: δ, above 0: without it, the scale's gradient has no bound where q_* is 1 and q_k is
            0.

    Returns:
        The losses of the rows, (n,).

    References:
        Ryou et al. 2019, Anchor loss: modulating loss scale based on prediction difficulty.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)
    right = labels.unsqueeze(1) == classes
    probability = logits.sigmoid()
    of_label = probability.gather(1, labels.unsqueeze(1))
    anchor = (of_label - slack).clamp(min=0.0).detach()
    binary = F.binary_cross_entropy_with_logits(logits, right.to(logits.dtype), reduction="none")
    scale = (1 + probability - anchor).pow(gamma)
    return torch.where(right, binary, scale * binary).sum(dim=1)


def balancing_weights(groups: Tensor, count: int) -> Tensor:
    """Weights with which each group that is there counts for as much as any other.

    The weight of a row is n / (G · n_g): n rows, of which n_g are of its group, one of G that have
    rows. Their mean is 1, and a row alone has 1.

    Args:
        groups: Of the rows, (n,) of int64, from 0.
        count: Number of groups that there may be.

    Returns:
        (n,) float32.
    """
    numbers = torch.arange(count, device=groups.device)
    sizes = (groups.unsqueeze(1) == numbers).sum(dim=0)
    present = (sizes > 0).sum()
    return groups.shape[0] / (present * sizes[groups]).to(torch.float32)


def class_weights(labels: Tensor, task: Tensor | None, classes: int) -> Tensor:
    """Weights (n,) that balance the classes within each task; the mean over each task is 1.

    Args:
        labels: Of all labelled rows of one task or several, (n,) of int64.
        task: Of the rows, (n,) of int64; None if there is one.
        classes: Number of classes of each task.
    """
    if task is None:
        return balancing_weights(labels, classes)
    weights = torch.ones(len(labels), device=labels.device)
    for number in sorted(set(task.tolist())):
        rows = task == number
        weights[rows] = balancing_weights(labels[rows], classes)
    return weights


def uncertain_losses(losses: Tensor, log_variances: Tensor) -> Tensor:
    """Losses of rows with a temperature that is learned: exp(-s) · L + s / 2.

    With s = log σ², this is L / σ² + log σ, a classification's part in Kendall et al. 2018. For a
    fixed mean loss L it is least where 2 L = exp(s), so that the weight exp(-s) is 1 / (2 L).

    Args:
        losses: L, (n,).
        log_variances: s of each row's task, (n,).

    References:
        Kendall, Gal & Cipolla 2018, Multi-task learning using uncertainty to weigh losses for scene
            geometry and semantics.
    """
    return (-log_variances).exp() * losses + log_variances / 2


@dataclass(frozen=True, eq=False)
class LabelledLoss:
    """What is minimised of labelled rows: the mean of their losses, each with its weight.

    A batch may have "weight" (n,), which is of its rows and stays with them wherever they go.

    Attributes:
        of_rows: Their losses.
        num_tasks: Number of tasks.
        balances_tasks: Whether the tasks of a batch count equally; see `balancing_weights`.
        log_variances: s of each task, (num_tasks,), which is learned; None where tasks have no
            such weights. See `uncertain_losses`.
    """

    of_rows: RowLosses = cross_entropy
    num_tasks: int = 1
    balances_tasks: bool = False
    log_variances: Tensor | None = None

    def __call__(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of a batch with "labels", a scalar.

        Args:
            logits: What the network says of its rows, (n, classes).
            batch: With "task" where there are several.
        """
        losses = self.of_rows(logits, batch["labels"])
        if self.log_variances is not None:
            losses = uncertain_losses(losses, self.log_variances[batch["task"]])
        if "weight" in batch:
            losses = batch["weight"] * losses
        if self.balances_tasks:
            losses = balancing_weights(batch["task"], self.num_tasks) * losses
        return losses.mean()
