"""ReDo: recycle dormant units (Sokar et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lifelong_rl.continual.recycling import Recycling, features_of, magnitudes, recycle
from lifelong_rl.learning.protocols import Batch, Component, StateTree
from lifelong_rl.networks.features import dormant_units
from lifelong_rl.options import Count, NonNegative, Scope
from lifelong_rl.registry import METHODS


@METHODS.register("redo")
class ReDo(Recycling):
    """ReDo: every `period` updates, replace units that hardly do anything.

    A unit is dormant if the mean of |h| over the batch is at most τ times the mean over all units
    of its layer (definition 3.1). Its incoming weights are drawn anew, its outgoing ones are set to
    zero, and so are the optimizer's moments of both (algorithm 1). It acts by the count of updates
    alone, and need not be told where a task ends. In a multi-head network the weights into the
    heads of all tasks are zeroed: what an old task still had of a unit that is dormant on the
    current one is lost.

    Where it departs from the authors' code: incoming weights and biases are drawn as torch draws a
    new layer's, theirs by Xavier's rule and zero, which is how their networks begin (PPO's begin
    orthogonal here, and new units do not); a unit's score is taken on the batch of the update; and
    LayerNorm, which their networks lack, sees a recycled unit at once, so that the outputs change
    even where the unit was silent.

    References:
        Sokar et al. 2023, The dormant neuron phenomenon in deep reinforcement learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Recycling.Options):
        """Options of ReDo.

        Attributes:
            period: Updates of a component from one look to the next (Sokar et al. 2023, in their
                code for SAC).
            threshold: τ, at most which a unit's score beside its layer's mean is dormant (untuned;
                Sokar et al. 2023 count units with 0.025, as `diagnostics` here).
            scope: Which components it acts on; Sokar et al. 2023 recycle actor and critic.
        """

        period: Count = 1000
        threshold: NonNegative = 0.025
        scope: Scope = "both"

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._updates: dict[str, int] = {}

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """Recycle dormant units every `period` updates; the batch stays as it is."""
        done = self._updates.get(component.name, 0)
        self._updates[component.name] = done + 1
        if done and done % self.options.period == 0:
            networks = self._networks(component)
            for network, features in zip(
                networks, features_of(component, networks, batch), strict=True
            ):
                units = [
                    dormant_units(magnitudes(each, width), self.options.threshold)
                    for each, width in zip(features, network.spec.hidden, strict=True)
                ]
                recycle(network, units, component.optimizer)
        return batch

    def state_dict(self) -> StateTree:
        """The number of updates of each component."""
        return {"updates": dict(self._updates)}

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._updates = dict(state["updates"])
