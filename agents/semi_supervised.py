"""A classifier of labelled data that learns from rows without labels too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lifelong_rl.agents.classifier import Classifier, ClassifierNetwork, classes_of
from lifelong_rl.agents.losses import LabelledLoss
from lifelong_rl.agents.picture_network import PictureNetwork, make_encoder
from lifelong_rl.agents.unlabelled import Setting, UnlabelledObjective, make
from lifelong_rl.compatibility import Trait
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, Component, StateTree, split_batch, split_task
from lifelong_rl.learning.devices import move_tree
from lifelong_rl.learning.protocols import Pause, Progress, no_pause
from lifelong_rl.options import Count
from lifelong_rl.registry import AGENTS


@AGENTS.register("semi-supervised")
class SemiSupervised(Classifier):
    """Learn labelled rows and, by an objective, rows without labels at the same time.

    Each update is one gradient step of one network, on labelled rows drawn as `classifier` draws
    them, each of which takes `per_row` unlabelled ones of the task with it. The loss is the mean
    over rows of the loss of the label, plus the objective's loss of the unlabelled ones, on which
    the options `loss`, `balance` and `task_weights` have no effect.
    So a row stays one row to a continual method, whatever it does with it: a memory that keeps rows
    keeps each with its unlabelled ones, and they are learned again together. `task_data` has every
    unlabelled row once, and labelled ones as often as it takes. What `predict` reads is the
    labelled row alone.

    With objective=none it is `classifier` on the labelled rows, to the last bit.

    Args:
        env: Environment of the first task to learn; see `Classifier`. It also has
            `unlabelled_data()` with "observations" (m, obs_dim), and may have `layout`, how rows
            are pictures.
        method: See `TaskLearner`.
        **arguments: As for `SupervisedLearner`.

    Raises:
        UserError: The tasks have not what the objective needs.

    References:
        Sohn et al. 2020, FixMatch: simplifying semi-supervised learning with consistency and
        confidence.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("unlabelled data",)
    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses", "class labels")

    @dataclass(frozen=True, kw_only=True)
    class Options(Classifier.Options):
        """Options of SemiSupervised.

        Attributes:
            batch_size: Labelled rows in an update, drawn with replacement (untuned; Sohn et al.
                2020: 64).
            objective: Of rows without labels, see `lifelong-rl list unlabelled-objectives`
                (untuned: the simplest that needs no pictures).
            objective_options: Options of the objective, such as "{threshold: 0.9}"; null for its
                defaults, whose reasons it gives (untuned here).
            per_row: μ, unlabelled rows for each labelled one (Sohn et al. 2020: 7).
            encoder: Look at rows as pictures, through convolutions that are learned, before the
                hidden layers; ssl needs it (untuned: off, as `classifier` has none).
        """

        objective: str = "pseudo-label"
        objective_options: dict[str, Any] | None = None
        per_row: Count = 7
        encoder: bool = False

    options: Options
    objective: UnlabelledObjective
    _unlabelled: Batch
    _chosen: tuple[Tensor, Tensor] | None
    """Positions and classes of the rows of a task that the network has labelled."""
    _task_updates: int

    def learn_task(self, steps: int, progress: Progress, pause: Pause = no_pause) -> None:
        """See `SupervisedLearner`."""
        self._task_updates = max(1, self._updates_in(steps))
        super().learn_task(steps, progress, pause)

    def begin_task(self, task_id: int, env: Any) -> None:
        """Switch to a task; one that has no labels is labelled by the network, if it can be."""
        self._data = move_tree(self._load_data(task_id, env), self.device)
        self._done, self._chosen = 0, None
        if not len(self._data["labels"]):
            self._chosen = self._choose()
            self._data = self._labelled_by_itself(*self._chosen)
        self._switch(task_id)
        self.objective.begin_task(self.policy)

    def borrow_data(self, other: Any) -> None:
        """Draw from the other learner's data, at the same stage of its task."""
        super().borrow_data(other)
        self._unlabelled, self._done = other._unlabelled, other._done
        self._task_updates = other._task_updates
        self.objective.begin_task(self.policy)

    def task_data(self, batch_size: int = 1024) -> Iterator[Batch]:
        """Every unlabelled row of the task once, with labelled ones as often as it takes."""
        if not self.objective.draws:
            yield from super().task_data(batch_size)
            return
        k, labelled = self.options.per_row, len(self._data["labels"])
        unlabelled = len(self._unlabelled["observations"])
        count = max(labelled, ceil(unlabelled / k))
        for first in range(0, count, batch_size):
            rows = torch.arange(first, min(first + batch_size, count), device=self.device)
            others = rows.unsqueeze(1) * k + torch.arange(k, device=self.device)
            yield self._with_companions(self._take(rows % labelled), others % unlabelled)

    def state_dict(self) -> StateTree:
        """See `TaskLearner`; and what the objective keeps."""
        return {**super().state_dict(), "objective": self.objective.state_dict()}

    def load_state_dict(self, state: StateTree) -> None:
        """See `TaskLearner`."""
        super().load_state_dict(state)
        self.objective.load_state_dict(move_tree(state["objective"], self.device), self.policy)

    def task_state(self) -> StateTree | None:
        """See `SupervisedLearner`; and the classes of a task that the network has labelled."""
        state = super().task_state()
        if state is None or self._chosen is None:
            return state
        rows, classes = self._chosen
        return {**state, "task": {**state["task"], "chosen": {"rows": rows, "classes": classes}}}

    def load_task_state(self, state: StateTree, env: Any) -> None:
        """See `SupervisedLearner`."""
        super().load_task_state(state, env)
        chosen = state["task"].get("chosen")
        self._chosen = None
        if chosen is not None:
            found = move_tree(dict(chosen), self.device)
            self._chosen = found["rows"], found["classes"]
            self._data = self._labelled_by_itself(*self._chosen)

    def _make_policy(self, env: Any) -> Any:
        if not hasattr(env, "unlabelled_data"):
            raise UserError(
                "SemiSupervised learns labelled data and rows without labels, such as those of the "
                "sequence 'split-digits', and these tasks have none"
            )
        self._classes = classes_of(env)
        layout, options = getattr(env, "layout", None), self.options
        shown = torch.as_tensor(env.unlabelled_data()["observations"], dtype=torch.float32)
        rows, _ = split_task(shown, self.num_tasks)
        setting = Setting(self._classes, layout, self.num_tasks, rows)
        self.objective = make(options.objective, setting, options.objective_options)
        self._task_updates = 1
        self._chosen = None
        if self.objective.needs_encoder and not options.encoder:
            raise UserError(
                f"the objective '{options.objective}' learns an encoder; add encoder=true, with "
                "objective=none too where they are compared"
            )
        if not options.encoder:
            return super()._make_policy(env)
        return self._make_picture_network(layout)

    def _make_picture_network(self, layout: Any) -> PictureNetwork:
        if layout is None:
            raise UserError(
                "encoder=true is for rows that are pictures, and those of these tasks are none"
            )
        for part in getattr(self.method, "methods", {"": self.method}).values():
            if "networks alone" in getattr(part, "needs", ()):
                raise UserError(
                    f"{type(part).__name__} protects nothing but the layers of its own networks: "
                    "the encoder beside them would forget; leave out encoder=true, or choose "
                    "another method"
                )
        auxiliary = self.objective.auxiliary
        encoder = make_encoder(layout) if auxiliary is None else auxiliary.encoder
        head = self._make_network(len(layout.cameras) * encoder.spec.dim, self._classes)
        return PictureNetwork(layout, encoder, head, auxiliary)

    def _make_components(self, make_optimizer: Any) -> dict[str, Component]:
        optimizer = make_optimizer(self._learned())
        self.objective.optimizer = optimizer
        component = SemiSupervisedNetwork(
            self.policy,
            optimizer,
            num_tasks=self.num_tasks,
            of_labels=self._make_loss(),
            objective=self.objective,
        )
        return {component.name: component}

    def _load_data(self, task_id: int, env: Any) -> Batch:
        rows = np.asarray(env.unlabelled_data()["observations"], np.float32)
        unlabelled = split_batch({"observations": torch.from_numpy(rows)}, self.num_tasks)
        self._unlabelled = move_tree(unlabelled, self.device)
        return super()._load_data(task_id, env)

    @torch.no_grad()
    def _choose(self) -> tuple[Tensor, Tensor]:
        """Which unlabelled rows to learn as what.

        Raises:
            UserError: The objective does not label tasks.
        """
        if not self.objective.labels_tasks:
            raise UserError(
                f"the task has no labels, and the objective '{self.options.objective}' needs some "
                "in every task; take objective=gradual, which lets the network label it"
            )
        self.policy.eval()
        rows = self._unlabelled
        return self.objective.choose(self.policy(rows["observations"], rows.get("task"))[0])

    def _labelled_by_itself(self, rows: Tensor, classes: Tensor) -> Batch:
        chosen = {name: values[rows] for name, values in self._unlabelled.items()}
        return self._with_weights({**chosen, "labels": classes})

    def _augment(self, batch: Batch) -> Batch:
        """The labelled rows, each with unlabelled ones drawn with replacement."""
        if not self.objective.draws:
            return batch
        shape = len(batch["labels"]), self.options.per_row
        count = len(self._unlabelled["observations"])
        return self._with_companions(batch, torch.randint(count, shape, device=self.device))

    def _with_companions(self, batch: Batch, rows: Tensor) -> Batch:
        """Labelled rows (n, ...) with the unlabelled rows (n, k) that go with them."""
        found = {"unlabelled": self._unlabelled["observations"][rows]}
        if "task" in self._unlabelled:
            found["unlabelled_task"] = self._unlabelled["task"][rows]
        return {**batch, **found}

    def _step(self, batch: Batch) -> None:
        self.objective.share = min(1.0, self._done / self._task_updates)
        super()._step(batch)
        self.objective.after_update(self.policy, batch)


class SemiSupervisedNetwork(ClassifierNetwork):
    """The network as a component.

    Batch: as that of `ClassifierNetwork`, and "unlabelled" (n, k, d), with "unlabelled_task" (n, k)
    where there are several tasks; rows without these are learned by their labels alone.

    Args:
        module: The network.
        optimizer: See `AgentComponent`.
        num_tasks: See `AgentComponent`.
        of_labels: See `ClassifierNetwork`.
        objective: Of unlabelled rows.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: Optimizer,
        *,
        num_tasks: int,
        of_labels: LabelledLoss,
        objective: UnlabelledObjective,
    ) -> None:
        super().__init__(module, optimizer, num_tasks=num_tasks, of_labels=of_labels)
        self.objective = objective

    @property
    def followers(self) -> tuple[nn.Module, ...]:  # type: ignore[override]
        """What of the objective follows the network."""
        return self.objective.followers

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of the labels, and the objective's loss of the unlabelled rows."""
        shown = self.objective.view_labelled(batch["observations"])
        loss = self.of_labels(self.logits({**batch, "observations": shown}), batch)
        if "unlabelled" not in batch:
            return loss
        return loss + self.objective.loss(self._say, batch)

    def with_task(self, batch: Batch, task: int | Tensor) -> Batch:
        """The same rows, unlabelled ones too, as if they belonged to other tasks."""
        changed = super().with_task(batch, task)
        if "unlabelled_task" not in changed:
            return changed
        shape = changed["unlabelled_task"].shape
        return {**changed, "unlabelled_task": changed["task"].unsqueeze(1).expand(shape)}

    def _say(self, rows: Tensor, task: Tensor | None) -> Tensor:
        logits: Tensor = self.module(rows, task)[0]
        return logits
