"""A classifier of labelled data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution
from torch.nn import functional as F

from lifelong_rl.agents.components import AgentComponent
from lifelong_rl.agents.inputs import inputs_space
from lifelong_rl.agents.network_builder import NetworkBuilder
from lifelong_rl.agents.supervised import SupervisedLearner
from lifelong_rl.compatibility import Trait
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, Component, split_batch, split_task
from lifelong_rl.networks import NetworkSpec
from lifelong_rl.networks.activations import ACTIVATIONS
from lifelong_rl.networks.spec import TaskNetwork
from lifelong_rl.options import Count
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
        """

        batch_size: Count = 64

    options: Options
    policy: TaskNetwork

    def act(self, observations: np.ndarray) -> np.ndarray:
        """The most probable class (n,) for each of the observations (n, obs_dim)."""
        self.policy.eval()
        with torch.no_grad():
            shown = torch.as_tensor(observations, device=self.device)
            rows, task = split_task(shown, self.num_tasks)
            logits = self.policy(rows, task)[0]
        classes: np.ndarray = logits.argmax(dim=1).cpu().numpy()
        return classes

    def _make_components(self, make_optimizer: Any) -> dict[str, Component]:
        optimizer = make_optimizer(self.policy.parameters())
        return {"classifier": ClassifierNetwork(self.policy, optimizer, num_tasks=self.num_tasks)}

    def _make_policy(self, env: Any) -> Any:
        if not hasattr(env, "labelled_data"):
            raise UserError(
                "Classifier learns labelled data, such as that of the sequence 'split-digits', and "
                "these tasks have none: tasks with continuous actions are for agents such as "
                "'sac' and 'bc'"
            )
        space = inputs_space(env.observation_space, self.num_tasks)
        spec = NetworkSpec(
            input_dim=space.shape[0],  # type: ignore[index]
            hidden=self.options.hidden,
            outputs=(int(env.action_space.n),),
            num_tasks=self.num_tasks,
            activation=ACTIVATIONS[self.options.activation],
            layer_norm=self.options.layer_norm,
        )
        return NetworkBuilder(self.method)("policy", spec)

    def _load_data(self, task_id: int, env: Any) -> Batch:
        data = env.labelled_data()
        shown = {
            "observations": torch.as_tensor(data["observations"], dtype=torch.float32),
            "labels": torch.as_tensor(data["labels"], dtype=torch.int64),
        }
        return split_batch(shown, self.num_tasks)


class ClassifierNetwork(AgentComponent):
    """The network as a component. Batch: "observations" (n, obs_dim) and "labels" (n,) int64."""

    name = "classifier"
    module: TaskNetwork

    def logits(self, batch: Batch) -> Tensor:
        """Unnormalised log probabilities of the classes, (n, num_classes)."""
        logits: Tensor = self.module(batch["observations"], batch.get("task"))[0]
        return logits

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the labels."""
        return F.cross_entropy(self.logits(batch), batch["labels"])

    def predict(self, batch: Batch) -> Distribution:
        """The classes' probabilities."""
        return Categorical(logits=self.logits(batch), validate_args=False)
