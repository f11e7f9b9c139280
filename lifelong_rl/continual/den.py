"""Dynamically expandable networks (Yoon et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from lifelong_rl.compatibility import Trait
from lifelong_rl.continual.preserving import networks_of
from lifelong_rl.continual.retraining import rehearse_share
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Component, Learner, ParamDict, StateTree
from lifelong_rl.networks.expandable import ExpandableMLP
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import NonNegative, ShareBelowOne, Whole
from lifelong_rl.registry import METHODS


@METHODS.register("den")
class DEN(ContinualMethod):
    """DEN: retrain what a new task needs, add units, and split old ones that drift too far.

    The first task is learned with an L1 penalty (eq. 2). Each later task

    1. adds units to each layer, and learns its head alone under the L1 penalty for some updates;
       the units that the head then depends on are selected, from the top down (algorithm 2);
    2. learns on with the weights between selected and new units. Group sparsity on the new ones
       leaves those without input that are not needed (algorithm 3), and old units are held where
       they were, by λ‖W − W_before‖² (algorithm 4);
    3. at its end loses the new units without input, and duplicates old units that drifted further
       than a threshold: the duplicate is new, the unit is put back. Then it learns on, with the
       units that were put back held fixed.

    A row of task k sees only units that existed at the end of task k.

    Departures, because a learner trains once through each task: units are always added, where the
    paper does so if the loss stays above a threshold, which a reinforcement learner's loss has no
    scale for; selective retraining and splitting are one phase, with the penalty of the latter;
    weights that gradient descent makes small, not zero, count as zero below `threshold`; and the
    number of units that a task can add is bounded. What a component has beside its network is not
    held.

    At the defaults there is hardly any selection and no splitting: on `split-digits` and
    `permuted-digits` with `classifier`, seed 0, at least 134 of 136 units of a layer are selected,
    and none is split. A `threshold` of 0.3 leaves 129 of 138 and 80 of 136 on `digits-2-3`, one of
    0.5 leaves 60 and 27 of 138; still none is split (`python scripts/den_units.py`).

    References:
        Yoon et al. 2018, Lifelong learning with dynamically expandable networks.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("networks alone",)
    rehearses = True
    learns_several = False

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of DEN.

        Attributes:
            growth: Units that a task may add to each hidden layer: half at its beginning, the
                others by splitting. The authors' code adds 10 at a time, so here 20 are 10 and 10.
            l1: Weight of the L1 penalty (authors' code: 1e-5).
            group: Weight of the group sparsity (authors' code: 1e-3).
            drift: λ of the penalty on drift (authors' code: 0.5).
            split: Least drift of a unit that is split (authors' code: 0.05).
            threshold: Weights below this share of their layer's largest, and new units with less
                input than this share of older ones, count as zero. The authors' code needs none,
                as its proximal steps make exact zeros; 0.01 is a guess, see above.
            selection_updates: Updates of the head alone at the beginning of a task. A guess: a head
                is linear, and Adam moves a weight by up to 0.1 in 100 updates.
            retrain_share: Gradient steps after splitting, with no new data, as a share of those
                that the task took, as many as `PackNet`'s.
        """

        growth: Annotated[int, Ge(2)] = 20
        l1: NonNegative = 1e-5
        group: NonNegative = 1e-3
        drift: NonNegative = 0.5
        split: NonNegative = 0.05
        threshold: ShareBelowOne = 0.01
        selection_updates: Whole = 100
        retrain_share: NonNegative = 0.1

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._task_id = 0
        self._updates: dict[str, int] = {}
        self._retrains = False
        self._before: dict[str, ParamDict] = {}
        self._masks: dict[str, ParamDict] = {}

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network whose units have time stamps."""
        return ExpandableMLP(spec, self.options.growth)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Note the parameters, and add units.

        Raises:
            UserError: A component has no network of this method.
        """
        self._task_id, self._retrains = task_id, False
        for name, component in self.components(learner).items():
            networks_of(component, ExpandableMLP, "den")
            component.optimizer.state.clear()  # moments would move what has no gradient
            self._updates[name] = 0
            self._before[name] = {
                key: value.detach().clone() for key, value in component.module.named_parameters()
            }
            self._masks[name] = {}
            for prefix, network in _networks(component):
                if task_id:
                    network.expand(task_id, self.options.growth // 2)
                    nothing = [torch.zeros_like(s, dtype=torch.bool) for s in network.stamps]
                    self._masks[name] |= _masks(prefix, network, nothing, task_id)

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """The L1 penalty, or those on drift and on the new units' groups."""
        total = torch.zeros(())
        selecting = (
            not self._retrains and self._updates[component.name] < self.options.selection_updates
        )
        for prefix, network in _networks(component):
            if self._task_id == 0:
                total = total + self.options.l1 * sum(w.abs().sum() for w in network.incoming(0))
            elif selecting:
                total = total + self.options.l1 * network.head(self._task_id).abs().sum()
            else:
                before = _of_network(prefix, self._before[component.name])
                total = total + self.options.drift * moved(network, before, self._task_id)
                total = total + self.options.group * groups(network, self._task_id)
        return total

    def transform_gradient(self, component: Component, grads: ParamDict) -> ParamDict:
        """Keep the gradient of what the task may change now."""
        name = component.name
        selects = self._task_id and not self._retrains
        if selects and self._updates[name] == self.options.selection_updates:
            for prefix, network in _networks(component):
                selected = network.select(self._task_id, self.options.threshold)
                units = [
                    chosen | (stamp == self._task_id)
                    for chosen, stamp in zip(selected, network.stamps, strict=True)
                ]
                self._masks[name] |= _masks(prefix, network, units, self._task_id)
        self._updates[name] += 1
        for key, mask in self._masks[name].items():
            grads[key] *= mask
        return grads

    def end_task(self, learner: Learner, task_id: int) -> None:
        """Remove new units that are not needed, split old ones that drifted, and learn on."""
        if task_id == 0:
            return
        self._retrains = True  # all selected units, however short the task was
        for name, component in self.components(learner).items():
            component.optimizer.state.clear()
            for prefix, network in _networks(component):
                network.remove_idle(task_id, self.options.threshold)
                before = _of_network(prefix, self._before[name])
                selected = network.select(task_id, self.options.threshold)
                restored = network.split(task_id, before, self.options.split)
                units = [
                    (chosen | (stamp == task_id)) & ~put_back
                    for chosen, stamp, put_back in zip(
                        selected, network.stamps, restored, strict=True
                    )
                ]
                self._masks[name] |= _masks(prefix, network, units, task_id)
        rehearse_share(learner, self.options.retrain_share, self._updates)

    def task_state(self) -> StateTree:
        """The task, the parameters before it, and what may change in it; not within `end_task`."""
        return {
            "task_id": self._task_id,
            "updates": dict(self._updates),
            "before": dict(self._before),
            "masks": dict(self._masks),
        }

    def load_task_state(self, state: StateTree) -> None:
        """Take over a state made by `task_state`."""
        self._task_id, self._retrains = state["task_id"], False
        self._updates = dict(state["updates"])
        self._before = {name: dict(values) for name, values in state["before"].items()}
        self._masks = {name: dict(masks) for name, masks in state["masks"].items()}


def moved(network: ExpandableMLP, before: ParamDict, task_id: int) -> Tensor:
    """‖W − W_before‖² over what older tasks see of a network, a scalar.

    Args:
        network: Holds W.
        before: By their names in `network.network`.
        task_id: The current task.
    """
    old = [stamp < task_id for stamp in network.stamps]
    total = torch.zeros(())
    for name, mask in _masks_of_units(network, old).items():
        parameter = network.network.get_parameter(name)
        total = total + ((parameter - before[name]) * mask).square().sum()
    return total


def groups(network: ExpandableMLP, task_id: int) -> Tensor:
    """Sum of the norms of the incoming weights of a task's new units, a scalar."""
    total = torch.zeros(())
    for weight, stamp in zip(network.incoming(task_id), network.stamps, strict=True):
        total = total + weight[stamp == task_id].norm(dim=1).sum()
    return total


def _masks_of_units(network: ExpandableMLP, units: list[Tensor]) -> ParamDict:
    """Masks of the parameters between units, (copies, units) of bool for each hidden layer."""
    found: ParamDict = {}
    for depth, out in enumerate(units):
        weight = out.unsqueeze(2)
        if depth:
            weight = weight & units[depth - 1].unsqueeze(1)
        found[f"hidden.{depth}.weight"], found[f"hidden.{depth}.bias"] = weight, out
    if network.network.norm is not None:
        found["norm.weight"] = found["norm.bias"] = units[0].unsqueeze(1)
    return found


def _masks(prefix: str, network: ExpandableMLP, units: list[Tensor], task_id: int) -> ParamDict:
    """What may change: all between `units`, and all that the task's new ones of them read."""
    masks = _masks_of_units(network, units)
    for depth in range(1, len(units)):
        new = units[depth] & (network.stamps[depth] == task_id)
        active = network.stamps[depth - 1] <= task_id
        masks[f"hidden.{depth}.weight"] |= new.unsqueeze(2) & active.unsqueeze(1)
    return {prefix + key: mask for key, mask in masks.items()}


def _of_network(prefix: str, parameters: ParamDict) -> ParamDict:
    return {k.removeprefix(prefix): v for k, v in parameters.items() if k.startswith(prefix)}


def _networks(component: Component) -> Iterator[tuple[str, ExpandableMLP]]:
    """The networks, with the prefix of their parameters' names in the component's module."""
    for name, module in component.module.named_modules():
        if isinstance(module, ExpandableMLP):
            yield f"{name}.network.".lstrip("."), module
