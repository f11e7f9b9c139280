"""The objective of rows without labels: what it knows, adds to the loss, and keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.agents.picture_network import PictureLayout
from lifelong_rl.errors import ContractError, UserError
from lifelong_rl.learning import Batch, StateTree
from lifelong_rl.options import DeclaredOptions, check_options
from lifelong_rl.registry import UNLABELLED_OBJECTIVES

Logits = Callable[[Tensor, Tensor | None], Tensor]
"""What the network says of rows (m, d) of tasks (m,): logits of the classes, (m, classes)."""


class Layout(PictureLayout, Protocol):
    """How the features of a row are pictures, and whether these may be turned."""

    turns: bool
    size: int


@dataclass(frozen=True)
class Setting:
    """What an objective knows of the tasks.

    Attributes:
        classes: Number of classes of each task.
        layout: How rows are pictures; None where they are none.
        num_tasks: Number of tasks.
        rows: Unlabelled rows of a task, (m, d), on the CPU, for constants; None where there are
            none yet.
    """

    classes: int
    layout: Layout | None = None
    num_tasks: int = 1
    rows: Tensor | None = None


class UnlabelledObjective:
    """Base of all objectives; a subclass adds its loss and its options.

    A row of a batch is a labelled sample with the unlabelled ones that go with it: "unlabelled"
    (n, k, d), and "unlabelled_task" (n, k) where there are several tasks. What the loss of a row is
    depends on that row, on the network and on what the objective keeps, and not on other rows.

    Args:
        setting: What is to be learned.
        options: By default all options are as their class declares them.
        **given: Options by name, on top of these.

    Attributes:
        draws: Whether labelled rows take unlabelled ones with them.
        needs_pictures: Whether rows have to be pictures.
        needs_encoder: Whether the network has to see them through an encoder.
        labels_tasks: Whether it can label a task that has no labels; see `choose`.
        options: Of this objective.
        auxiliary: What is learned beside the network, an encoder of its own in it; None for most.
        optimizer: Steps the network; the agent sets it.
        share: Of the task's updates that is done, in [0, 1]; the agent sets it.

    Raises:
        UserError: The tasks have not what it needs.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(DeclaredOptions):
        """Options of an objective; it has none unless it declares some."""

    draws: ClassVar[bool] = True
    needs_pictures: ClassVar[bool] = False
    needs_encoder: ClassVar[bool] = False
    labels_tasks: ClassVar[bool] = False
    options: Options
    auxiliary: Any = None

    def __init__(self, setting: Setting, options: Options | None = None, /, **given: Any) -> None:
        self.options = self.Options.of(options, given)
        self.setting = setting
        self.share = 0.0
        self.optimizer: Optimizer | None = None
        if self.needs_pictures and setting.layout is None:
            raise UserError(
                f"the objective {type(self).__name__} changes pictures, and the rows of these "
                "tasks are none; choose another, such as pseudo-label"
            )

    @property
    def followers(self) -> tuple[nn.Module, ...]:
        """See `lifelong_rl.learning.protocols.Component`."""
        return ()

    def view_labelled(self, rows: Tensor) -> Tensor:
        """What the network is shown of labelled rows (n, d) in an update."""
        return rows

    def loss(self, logits: Logits, batch: Batch) -> Tensor:
        """The weighted loss of a batch's unlabelled rows, a scalar: the mean over its rows.

        Args:
            logits: The network.
            batch: Has "unlabelled"; see the class.
        """
        raise NotImplementedError

    def choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Which rows of a task without labels to learn as what, for `labels_tasks`.

        Args:
            logits: What the network says of all of them as the task begins, (m, classes).

        Returns:
            Positions (k,) and classes (k,), both int64.
        """
        raise NotImplementedError

    def begin_task(self, module: nn.Module) -> None:
        """Called before the first update of a task, with the network."""

    def after_update(self, module: nn.Module, batch: Batch) -> None:
        """Called after each update, with the network and the rows of the current task in it."""

    def state_dict(self) -> StateTree:
        """What it keeps beside its options."""
        return {}

    def load_state_dict(self, state: StateTree, module: nn.Module) -> None:
        """Take over a state made by `state_dict`; the network is as it was then."""


def make(
    name: str, setting: Setting, options: Mapping[str, Any] | None = None
) -> UnlabelledObjective:
    """Build the objective called `name`.

    Args:
        name: See `lifelong-rl list unlabelled-objectives`.
        setting: What is to be learned.
        options: Of the objective.

    Raises:
        UnknownNameError: No such objective, or no such option of it.
        UserError: An option has a value that it does not accept, or the tasks have not what it
            needs.
        ContractError: What is registered is something else.
    """
    factory: Any = UNLABELLED_OBJECTIVES.get(name)
    if not (isinstance(factory, type) and issubclass(factory, UnlabelledObjective)):
        raise ContractError(
            f"the unlabelled-objective '{name}'", f"{factory!r} is no UnlabelledObjective"
        )
    checked = check_options(factory, options or {}, f"unlabelled-objective '{name}'")
    objective: UnlabelledObjective = factory(setting, **checked)
    return objective


def companions(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """The unlabelled rows of a batch one after the other, (n · k, d), and their tasks."""
    task = batch.get("unlabelled_task")
    return batch["unlabelled"].flatten(0, 1), None if task is None else task.flatten()


def confident(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The most probable class of each row, and 1 where its probability is at least `threshold`.

    Args:
        logits: (m, classes); no gradient goes through them.
        threshold: In [0, 1].

    Returns:
        Classes (m,) of int64 and the mask (m,) of 0 and 1, float.
    """
    probability, label = logits.detach().softmax(dim=1).max(dim=1)
    return label, (probability >= threshold).to(logits.dtype)


def ramp(share: float, start: float, full: float) -> float:
    """0 up to `start`, then linearly up to 1 at `full`."""
    if share >= full:
        return 1.0
    return 0.0 if share <= start else (share - start) / (full - start)


def one_camera(rows: Tensor, layout: Layout, camera: int) -> Tensor:
    """Rows (m, d) of several cameras of which only one is seen: what others see is 0."""
    size = layout.height * layout.width * layout.channels
    seen = torch.arange(rows.shape[1], device=rows.device) // size == camera
    return rows * seen
