"""A classifier of labelled data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torch.optim import Optimizer

from lifelong_rl.agents.components import AgentComponent
from lifelong_rl.agents.inputs import inputs_space
from lifelong_rl.agents.losses import LabelledLoss, anchor_loss, class_weights, cross_entropy
from lifelong_rl.agents.supervised import SupervisedLearner
from lifelong_rl.compatibility import Trait
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, Component, StateTree, split_batch, split_task
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.networks.spec import TaskNetwork
from lifelong_rl.options import Count, NonNegative, PositiveShare
from lifelong_rl.registry import AGENTS


@AGENTS.register("classifier")
class Classifier(SupervisedLearner):
    """Supervised learning of classes from labelled rows, with one head per task.

    Rows without labels, where there are any, are left alone: see `SemiSupervised`.

    Args:
        env: Environment of the first task to learn: its action is the class. It has
            `labelled_data()` with "observations" (n, obs_dim) and "labels" (n,), whole numbers
            below the number of classes.
        method: See `TaskLearner`.
        **arguments: As for `SupervisedLearner`.

    Raises:
        UserError: The environment has no labelled data.

    References:
        Haarnoja et al. 2018b, Soft actor-critic algorithms and applications.
        Kendall, Gal & Cipolla 2018, Multi-task learning using uncertainty to weigh losses for scene
            geometry and semantics.
        Ryou et al. 2019, Anchor loss: modulating loss scale based on prediction difficulty.
        Wolczyk et al. 2021, Continual World: a robotic benchmark for continual reinforcement
            learning.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("labelled data",)
    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses", "class labels")

    @dataclass(frozen=True, kw_only=True)
    class Options(SupervisedLearner.Options):
        """Options of Classifier.

        Attributes:
            batch_size: Rows in an update, drawn with replacement (untuned).
            loss: Of a row: 'cross-entropy' of the classes' softmax, or 'anchor', binary
                cross-entropies of the classes' sigmoids that count for more the more probable a
                wrong class is beside the right one; good for classes that are mistaken for each
                other (untuned: what is usual).
            anchor_gamma: γ of the anchor loss, how strongly the scale follows the difficulty; 0 is
                binary cross-entropy (Ryou et al. 2019: 0.5).
            anchor_slack: δ of the anchor loss, by how much the right class has to be more probable
                than a wrong one for that to count for less (Ryou et al. 2019: 0.05).
            balance: Weights of rows, inversely proportional to how often there are such rows, good
                where some are rare. 'classes': w = n / (C · n_c) for n labelled rows of its task,
                n_c of its class, one of C; a row keeps its weight in a memory. 'tasks':
                w = n / (T · n_t) for n rows of the batch, n_t of its task, one of T in the batch;
                for methods that bring rows of old tasks, or all tasks. 'both': the product. Means
                are 1 (untuned: none, as in most papers).
            task_weights: 'uncertainty' learns a scale for each task, s, with the network's
                optimizer, and minimises exp(-s) · loss + s / 2 (Kendall et al. 2018), good for
                batches of tasks that are not equally hard; the weight exp(-s) goes to
                1 / (2 · loss), more for tasks that are learned well. No method protects or resets
                s (untuned: equal, as in most papers).
        """

        batch_size: Count = 64
        loss: Literal["cross-entropy", "anchor"] = "cross-entropy"
        anchor_gamma: NonNegative = 0.5
        anchor_slack: PositiveShare = 0.05
        balance: Literal["none", "classes", "tasks", "both"] = "none"
        task_weights: Literal["equal", "uncertainty"] = "equal"

    options: Options
    policy: TaskNetwork
    _classes: int
    _log_variances: nn.Parameter | None

    def act(self, observations: np.ndarray) -> np.ndarray:
        """The most probable class (n,) for each of the observations (n, obs_dim)."""
        self.policy.eval()
        with torch.no_grad():
            shown = torch.as_tensor(observations, device=self.device)
            rows, task = split_task(shown, self.num_tasks)
            logits = self.policy(rows, task)[0]
        classes: np.ndarray = logits.argmax(dim=1).cpu().numpy()
        return classes

    def state_dict(self) -> StateTree:
        """See `TaskLearner`; and the scales of the tasks, where these are learned."""
        state = super().state_dict()
        if self._log_variances is None:
            return state
        return {**state, "log_variances": self._log_variances.detach()}

    def load_state_dict(self, state: StateTree) -> None:
        """See `TaskLearner`."""
        super().load_state_dict(state)
        if self._log_variances is not None:
            with torch.no_grad():
                self._log_variances.copy_(state["log_variances"])

    def _switch(self, task_id: int) -> None:
        self._refuse_idle_balance()
        super()._switch(task_id)

    def _step(self, batch: Batch) -> None:
        super()._step(batch)
        if self._log_variances is not None:
            weights = (-self._log_variances.detach()).exp().tolist()
            named = {f"weight_of_task_{k}": weight for k, weight in enumerate(weights)}
            self._record(ClassifierNetwork.name, named)

    def _make_components(self, make_optimizer: Any) -> dict[str, Component]:
        optimizer = make_optimizer(self._learned())
        network = ClassifierNetwork(
            self.policy, optimizer, num_tasks=self.num_tasks, of_labels=self._make_loss()
        )
        return {network.name: network}

    def _learned(self) -> list[nn.Parameter]:
        """What the optimizer steps: the network, and the scales of the tasks, if there are any.

        The scales are in no module, so that methods, which see the component's module alone,
        neither protect nor reset them: they weigh losses, and are nothing that is forgotten.
        """
        options = self.options
        for name, value in (
            ("task_weights=uncertainty", options.task_weights == "uncertainty"),
            (f"balance={options.balance}", options.balance in ("tasks", "both")),
        ):
            if value and self.num_tasks == 1:
                raise UserError(
                    f"{name} weighs tasks against each other, and here the network knows of one "
                    "only; leave it out"
                )
        fields = type(options).__dataclass_fields__
        for name in ("anchor_gamma", "anchor_slack"):
            if options.loss != "anchor" and getattr(options, name) != fields[name].default:
                raise UserError(f"{name} is of the anchor loss; leave it out, or add loss=anchor")
        self._log_variances = None
        if options.task_weights == "uncertainty":
            self._log_variances = nn.Parameter(torch.zeros(self.num_tasks, device=self.device))
            return [*self.policy.parameters(), self._log_variances]
        return [*self.policy.parameters()]

    def _make_loss(self) -> LabelledLoss:
        options = self.options
        anchor = partial(anchor_loss, gamma=options.anchor_gamma, slack=options.anchor_slack)
        return LabelledLoss(
            anchor if options.loss == "anchor" else cross_entropy,
            self.num_tasks,
            options.balance in ("tasks", "both"),
            self._log_variances,
        )

    def _refuse_idle_balance(self) -> None:
        """Refuse weights that are all 1, before anything is learned.

        Raises:
            UserError: They are.
        """
        balance = self.options.balance
        if balance in ("tasks", "both") and not _mixes_tasks(self.method):
            raise UserError(
                f"balance={balance} weighs the tasks of a batch against each other, and the method "
                "brings no rows of other tasks into it; choose one that does, such as replay or "
                "joint, or leave it out"
            )
        first = self._n_updates == 0
        if first and "weight" in self._data and bool((self._data["weight"] == 1).all()):
            others = "take balance=tasks" if balance == "both" else "leave it out"
            raise UserError(
                f"balance={balance} does nothing for classes here: the first task has equally many "
                f"labelled rows of each, as --labels draws them; {others}"
            )

    def _with_weights(self, batch: Batch) -> Batch:
        """Labelled rows of whole tasks, with their weights where classes are balanced."""
        if self.options.balance not in ("classes", "both"):
            return batch
        return {**batch, "weight": class_weights(batch["labels"], batch.get("task"), self._classes)}

    def _make_policy(self, env: Any) -> Any:
        if not hasattr(env, "labelled_data"):
            raise UserError(
                "Classifier learns labelled data, such as that of the sequence 'split-digits', and "
                "these tasks have none: tasks with continuous actions are for agents such as "
                "'sac' and 'bc'"
            )
        self._classes = classes_of(env)
        space = inputs_space(env.observation_space, self.num_tasks)
        return self._make_network(space.shape[0], self._classes)  # type: ignore[index]

    def _load_data(self, task_id: int, env: Any) -> Batch:
        data = env.labelled_data()
        shown = {
            "observations": torch.as_tensor(data["observations"], dtype=torch.float32),
            "labels": torch.as_tensor(data["labels"], dtype=torch.int64),
        }
        return self._with_weights(split_batch(shown, self.num_tasks))


def classes_of(env: Any) -> int:
    """The number of classes of a labelled task.

    Raises:
        UserError: Its labels are no classes.
    """
    if not isinstance(env.action_space, spaces.Discrete):
        raise UserError(
            "the labels of these tasks are numbers to regress and no classes, such as those of the "
            "sequence 'split-digits'; they are for the agent 'regressor'"
        )
    return int(env.action_space.n)


def _mixes_tasks(method: ContinualMethod | None) -> bool:
    """Whether batches have rows of several tasks."""
    return any(
        part.interleaves or type(part).extend_batch is not ContinualMethod.extend_batch
        for part in getattr(method, "methods", {"": method}).values()
        if part is not None
    )


class ClassifierNetwork(AgentComponent):
    """The network as a component.

    Batch: "observations" (n, obs_dim) and "labels" (n,) int64; "weight" (n,) where rows have one.

    Args:
        module: The network.
        optimizer: See `AgentComponent`.
        num_tasks: See `AgentComponent`.
        of_labels: The loss of labelled rows.
    """

    name = "classifier"
    module: TaskNetwork

    def __init__(
        self, module: nn.Module, optimizer: Optimizer, *, num_tasks: int, of_labels: LabelledLoss
    ) -> None:
        super().__init__(module, optimizer, num_tasks=num_tasks)
        self.of_labels = of_labels

    def logits(self, batch: Batch) -> Tensor:
        """Unnormalised log probabilities of the classes, (n, num_classes)."""
        logits: Tensor = self.module(batch["observations"], batch.get("task"))[0]
        return logits

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss of the labels."""
        return self.of_labels(self.logits(batch), batch)

    def predict(self, batch: Batch) -> Distribution:
        """The classes' probabilities, whatever the loss: the softmax, as one class is chosen."""
        return Categorical(logits=self.logits(batch), validate_args=False)
