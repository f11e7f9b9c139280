"""A regressor of labelled data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from lifelong_rl.agents.components import AgentComponent, gaussian
from lifelong_rl.agents.inputs import inputs_space
from lifelong_rl.agents.supervised import SupervisedLearner
from lifelong_rl.compatibility import Trait
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch, Component, StateTree, split_batch, split_task
from lifelong_rl.learning.devices import move_tree
from lifelong_rl.networks.spec import TaskNetwork
from lifelong_rl.options import Count
from lifelong_rl.registry import AGENTS


@AGENTS.register("regressor")
class Regressor(SupervisedLearner):
    """Supervised learning of numbers from labelled rows, with one head per task.

    The loss is the squared error of standardised labels, (y - μ) / σ: μ is the mean of each entry,
    and σ one spread for all entries, the root of their mean variance, so that an error of one unit
    counts alike in each. Both are of the labelled rows that a head learns from first, and stay as
    they are; σ is 1 where all labels are alike. Methods see the standardised predictions.

    Args:
        env: Environment of the first task to learn: its actions are numbers, (k,). It has
            `labelled_data()` with "observations" (n, obs_dim) and "labels" (n, k).
        method: See `TaskLearner`.
        **arguments: As for `SupervisedLearner`.

    Raises:
        UserError: The environment has no labelled data, or its labels are no numbers.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("regression targets",)
    offers: ClassVar[tuple[Trait, ...]] = ("replayable losses",)

    @dataclass(frozen=True, kw_only=True)
    class Options(SupervisedLearner.Options):
        """Options of Regressor.

        Attributes:
            batch_size: Rows in an update, drawn with replacement (untuned: as `classifier`'s).
        """

        batch_size: Count = 64

    options: Options
    policy: TaskNetwork

    def act(self, observations: np.ndarray) -> np.ndarray:
        """The predicted numbers (n, k) for each of the observations (n, obs_dim)."""
        self.policy.eval()
        with torch.no_grad():
            shown = torch.as_tensor(observations, dtype=torch.float32, device=self.device)
            rows, task = split_task(shown, self.num_tasks)
            heads = self._heads(len(rows), task)
            spread = self._spreads[heads].unsqueeze(1)
            found = self._means[heads] + spread * self.policy(rows, task)[0]
        numbers: np.ndarray = found.cpu().numpy()
        return numbers

    def state_dict(self) -> StateTree:
        """See `TaskLearner`; and what labels are standardised with."""
        scales = {"means": self._means, "spreads": self._spreads, "known": self._known}
        return {**super().state_dict(), "scales": scales}

    def load_state_dict(self, state: StateTree) -> None:
        """See `TaskLearner`."""
        super().load_state_dict(state)
        scales = move_tree(dict(state["scales"]), self.device)
        self._means, self._spreads, self._known = (
            scales[name] for name in ("means", "spreads", "known")
        )

    def _make_policy(self, env: Any) -> Any:
        actions = env.action_space
        if not hasattr(env, "labelled_data") or not isinstance(actions, spaces.Box):
            raise UserError(
                "Regressor learns data that is labelled with numbers, such as that of the sequence "
                "'frames-position', and these tasks have none: classes are for the agent "
                "'classifier'"
            )
        (entries,) = actions.shape
        self._means = torch.zeros(self.num_tasks, entries, device=self.device)
        self._spreads = torch.ones(self.num_tasks, device=self.device)
        self._known = torch.zeros(self.num_tasks, dtype=torch.bool, device=self.device)
        space = inputs_space(env.observation_space, self.num_tasks)
        return self._make_network(space.shape[0], entries)  # type: ignore[index]

    def _make_components(self, make_optimizer: Any) -> dict[str, Component]:
        optimizer = make_optimizer(self.policy.parameters())
        network = RegressorNetwork(self.policy, optimizer, num_tasks=self.num_tasks)
        return {network.name: network}

    def _load_data(self, task_id: int, env: Any) -> Batch:
        data = env.labelled_data()
        shown = {
            name: torch.as_tensor(data[name], dtype=torch.float32, device=self.device)
            for name in ("observations", "labels")
        }
        batch = split_batch(shown, self.num_tasks)
        heads = self._heads(len(batch["labels"]), batch.get("task"))
        self._learn_scales(batch["labels"], heads)
        centred = batch["labels"] - self._means[heads]
        return {**batch, "labels": centred / self._spreads[heads].unsqueeze(1)}

    def _learn_scales(self, labels: Tensor, heads: Tensor) -> None:
        """Take over means and spreads of the labels (n, k) of heads that have none yet."""
        for head in sorted(set(heads.tolist())):
            if self._known[head]:
                continue
            of_head = labels[heads == head]
            self._means[head] = of_head.mean(dim=0)
            spread = of_head.var(dim=0, correction=0).mean().sqrt()
            self._spreads[head] = spread if spread > 0 else 1.0
            self._known[head] = True

    def _heads(self, rows: int, task: Tensor | None) -> Tensor:
        """The head of each row, (n,)."""
        none = torch.zeros(rows, dtype=torch.int64, device=self.device)
        return none if task is None else task


class RegressorNetwork(AgentComponent):
    """The network as a component. Batch: "observations" (n, obs_dim) and "labels" (n, k)."""

    name = "regressor"
    module: TaskNetwork

    def values(self, batch: Batch) -> Tensor:
        """Predicted numbers, standardised, (n, k)."""
        values: Tensor = self.module(batch["observations"], batch.get("task"))[0]
        return values

    def loss(self, batch: Batch) -> Tensor:
        """Mean over rows and entries of the squared error."""
        return F.mse_loss(self.values(batch), batch["labels"])

    def predict(self, batch: Batch) -> Distribution:
        """Normal(standardised numbers, 1)."""
        return gaussian(self.values(batch))
