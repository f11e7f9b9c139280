"""iCaRL: exemplars by herding, distillation, nearest-mean classification (Rebuffi et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional as F

from lifelong_rl.compatibility import Trait
from lifelong_rl.continual.condensation import check_condensable, condense
from lifelong_rl.continual.lwf import LwF
from lifelong_rl.continual.memory import concatenate
from lifelong_rl.continual.preserving import networks_of
from lifelong_rl.errors import UserError
from lifelong_rl.learning.protocols import Batch, Component, Learner, StateTree
from lifelong_rl.learning.rows import join_rows
from lifelong_rl.networks.nearest_mean import NearestMeanMLP
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import Count, Positive, Whole
from lifelong_rl.registry import METHODS


@dataclass(frozen=True)
class Exemplars:
    """Rows of one class of one task, those that herding chose first before the others."""

    task_id: int
    label: int
    rows: Batch


@METHODS.register("icarl")
class ICaRL(LwF):
    """iCaRL: keep the exemplars that make up each class's mean, and classify by nearest mean.

    While a task is learned its batches are extended by exemplars of old tasks, and the old heads
    are distilled on all rows as in `LwF`. When it ends, herding chooses exemplars of its classes
    (algorithm 4), those of older classes are reduced to the first K / number of classes
    (algorithm 5), and the mean of each class's exemplars is computed anew. Evaluation then takes
    the class, of those of the row's task, whose mean is nearest (algorithm 1).

    It is for components that predict classes and learn from labelled data ("labels" (n,) of int64
    in each batch) that is there when a task begins: others are refused.

    Departures: heads with a softmax, one for each task, where the paper has one sigmoid for each
    class, so the distillation is a KL divergence; and exemplars have a fixed share of each batch,
    where the paper joins them to the data.

    With keep=distilled the exemplars of a class are rows that are learned from it, as by
    `replay`, in the order that herding gives them; those of older classes are reduced as ever,
    although what was learned together then loses a part.

    References:
        Rebuffi et al. 2017, iCaRL: incremental classifier and representation learning.
        Zhao, Mopuri & Bilen 2021, Dataset condensation with gradient matching.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("class labels",)

    @dataclass(frozen=True, kw_only=True)
    class Options(LwF.Options):
        """Options of ICaRL.

        Attributes:
            memory_size: K, exemplars in all (paper: 2000).
            ratio: Exemplars for each row of the current task in a batch (untuned: as that of
                `replay`).
            strength: Weight of the distillation (paper: 1).
            keep: What exemplars are: rows of the data (real, as in the paper), or rows that are
                learned from it (distilled).
            distill_updates: Of the rows that are learned (untuned: as those of `replay`).
            distill_rate: Step size of these updates (Zhao et al. 2021: 0.1).
        """

        memory_size: Count = 2000
        ratio: Positive = 1.0
        keep: Literal["real", "distilled"] = "real"
        distill_updates: Whole = 100
        distill_rate: Positive = 0.1
        temperature: Positive = field(default=1.0, init=False)

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._exemplars: dict[str, list[Exemplars]] = {}
        self._joined: dict[str, Batch] = {}

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network that classifies by nearest mean when it is evaluated."""
        return NearestMeanMLP(spec)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Refuse what does not learn classes.

        Raises:
            UserError: A component's predictions are not categorical, there is no labelled data
                yet, or the network was not made by this method.
        """
        rows = next(iter(learner.task_data(1)), {})
        for name, component in self.components(learner).items():
            labelled = "labels" in rows and isinstance(component.predict(rows), Categorical)
            if not labelled:
                raise UserError(
                    f"icarl cannot act on '{name}': it needs classes to predict and labelled data "
                    "that is there when a task begins, such as that of the agent 'classifier'"
                )
            networks_of(component, NearestMeanMLP, "icarl")
        if self.options.keep == "distilled":
            check_condensable(learner, self.components(learner), "icarl")

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """Add exemplars, uniformly from all that are kept, at least one."""
        rows = self._joined.get(component.name)
        if rows is None:
            return batch
        count = max(1, round(self.options.ratio * len(batch["labels"])))
        labels = rows["labels"]
        drawn = torch.randint(len(labels), (count,), device=labels.device)
        return concatenate(batch, {key: value[drawn] for key, value in rows.items()})

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Choose exemplars of the new classes, reduce the old ones, and compute all means."""
        rows = join_rows(learner.task_data())
        labels = sorted(set(rows["labels"].tolist()))
        for name, component in self.components(learner).items():
            (network,) = networks_of(component, NearestMeanMLP, "icarl")
            old = self._exemplars.get(name, [])
            count = max(1, self.options.memory_size // (len(old) + len(labels)))
            kept = [Exemplars(e.task_id, e.label, _first(e.rows, count)) for e in old]
            offered = self._offer(component, rows, count)
            for label in labels:
                of_class = _of_class(offered, label)
                phi = features(component, network, of_class)
                if offered is rows:
                    chosen = herd(phi, count)
                else:
                    real = features(component, network, _of_class(rows, label))
                    chosen = herd(phi, count, real.mean(dim=0))
                of_chosen = {key: value[chosen] for key, value in of_class.items()}
                kept.append(Exemplars(task_id, label, of_chosen))
            self._keep(name, kept)
            every = features(component, network, self._joined[name])
            parts = torch.split(every, [len(each.rows["labels"]) for each in kept])
            for each, part in zip(kept, parts, strict=True):
                mean = F.normalize(part.mean(dim=0), dim=0)
                network.set_mean(each.task_id, each.label, mean)
        super().end_task(learner, task_id)

    def state_dict(self) -> StateTree:
        """Exemplars, and copies of the parameters; the means are buffers of the network."""
        return {
            **super().state_dict(),
            "exemplars": {
                name: [{"task_id": e.task_id, "label": e.label, "rows": e.rows} for e in kept]
                for name, kept in self._exemplars.items()
            },
        }

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        super().load_state_dict(state)
        for name, kept in state["exemplars"].items():
            self._keep(name, [Exemplars(**each) for each in kept])

    def _offer(self, component: Component, rows: Batch, count: int) -> Batch:
        """What exemplars of a task's classes are chosen among, given all of its rows."""
        if self.options.keep == "real":
            return rows
        updates, rate = self.options.distill_updates, self.options.distill_rate
        return condense(component, rows, count, updates=updates, learning_rate=rate)

    def _keep(self, name: str, exemplars: list[Exemplars]) -> None:
        """Keep a component's exemplars, and all of them in one batch to draw from."""
        self._exemplars[name] = exemplars
        self._joined[name] = {
            key: torch.cat([each.rows[key] for each in exemplars]) for key in exemplars[0].rows
        }


@torch.no_grad()
def features(component: Component, network: NearestMeanMLP, rows: Batch) -> Tensor:
    """φ of rows, (n, units), for whatever inputs the component gives its network."""
    inputs: list[Tensor] = []

    def keep_inputs(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs.append(arguments[0])

    handle = network.register_forward_pre_hook(keep_inputs)
    try:
        component.predict(rows)
    finally:
        handle.remove()
    return network.features(inputs[0])


def herd(rows: Tensor, count: int, mean: Tensor | None = None) -> list[int]:
    """The rows whose averages come nearest to a mean, one after the other.

    p_k = argmin_x ‖μ − (φ(x) + Σ_{j<k} φ(p_j)) / k‖ (algorithm 4), without repetition, and with
    averages scaled to length 1 as all features are.

    Args:
        rows: φ, (n, d), each of length 1.
        count: How many to choose; all if there are fewer.
        mean: μ, (d,), of any length; by default that of the rows.

    Returns:
        Their positions, the most important first.
    """
    mean = F.normalize(rows.mean(dim=0) if mean is None else mean, dim=0)
    total = torch.zeros_like(mean)
    chosen: list[int] = []
    for _ in range(min(count, len(rows))):
        distances = (F.normalize(total + rows, dim=1) - mean).square().sum(dim=1)
        distances[chosen] = torch.inf
        chosen.append(int(distances.argmin()))
        total = total + rows[chosen[-1]]
    return chosen


def _of_class(rows: Batch, label: int) -> Batch:
    return {key: value[rows["labels"] == label] for key, value in rows.items()}


def _first(rows: Batch, count: int) -> Batch:
    """A copy of the first rows: a view would keep all of them in memory."""
    return {key: value[:count].clone() for key, value in rows.items()}
