"""Continual backpropagation: replace the least useful units (Dohare et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lifelong_rl.continual.recycling import (
    Recycling,
    features_of,
    fed_layers,
    magnitudes,
    of_features,
    recycle,
)
from lifelong_rl.learning.protocols import Batch, Component, StateTree
from lifelong_rl.options import Scope, Share, ShareBelowOne, Whole
from lifelong_rl.registry import METHODS


@METHODS.register("continual-backprop")
class ContinualBackprop(Recycling):
    """Continual backpropagation: at every update, replace a tiny share of the least useful units.

    A unit's utility is a running average of |h| times the sum of its outgoing weights' magnitudes
    (eq. 1), over the heads of all tasks. Every update adds `replacement_rate` times the number of
    mature units to what a layer owes, and for each whole unit of that the mature one of least
    utility is made anew (algorithm 1): fresh incoming weights, outgoing ones of zero, no moments,
    age 0. As in the authors' code averages are corrected for their start at zero, and a unit's
    average activation times its outgoing weights goes into the biases that it fed. It acts by ages
    in updates alone, and need not be told where a task ends. What a replaced unit contributed to
    the heads of old tasks is lost, but for its average on the current one.

    Where it departs from the authors' code: torch's Adam counts steps for a whole tensor, and with
    a count that goes on a weight without moments takes steps of up to 6.5 times the step size at
    first, where their Adam counts anew for each weight; incoming weights and biases are drawn as
    torch draws a new layer's, theirs by Kaiming's rule and zero; the mean over a batch's rows
    stands for one sample; and their weight decay and Adam's decay of .99 are left to the agent.

    References:
        Dohare et al. 2024, Loss of plasticity in deep continual learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Recycling.Options):
        """Options of ContinualBackprop.

        Attributes:
            replacement_rate: ρ, the share of mature units that are replaced at an update (Dohare et
                al. 2024, in their code for PPO on Ant).
            maturity: Updates during which a new unit is safe (Dohare et al. 2024, the same).
            decay: η, of the running averages (Dohare et al. 2024, in all experiments).
            scope: Which components it acts on; Dohare et al. 2024 replace units of policy and value
                function.
        """

        replacement_rate: Share = 1e-4
        maturity: Whole = 10_000
        decay: ShareBelowOne = 0.99
        scope: Scope = "both"

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self._layers: dict[str, dict[str, UnitRecord]] = {}

    def extend_batch(self, component: Component, batch: Batch) -> Batch:
        """Account for the batch and replace units; the batch stays as it is."""
        networks = self._networks(component)
        layers = self._layers.setdefault(component.name, {})
        found = features_of(component, networks, batch)
        for index, (network, features) in enumerate(zip(networks, found, strict=True)):
            chosen, means = [], []
            for depth, (each, fed) in enumerate(zip(features, fed_layers(network), strict=True)):
                key = f"{index}.{depth}"
                record = layers.get(key) or new_record(each, network.spec.hidden[depth])
                record = account(record, each, fed.weight.detach(), self.options.decay)
                past = of_features(correction(record, self.options.decay), each.shape[2])
                means.append(record.activation / past)
                layers[key], units = replace_units(
                    record,
                    rate=self.options.replacement_rate,
                    maturity=self.options.maturity,
                    decay=self.options.decay,
                )
                chosen.append(units)
            recycle(network, chosen, component.optimizer, means)
        return batch

    def state_dict(self) -> StateTree:
        """Running averages and ages of the units of each component, network and layer."""
        return {
            name: {key: record._asdict() for key, record in layers.items()}
            for name, layers in self._layers.items()
        }

    def load_state_dict(self, state: StateTree) -> None:
        """Take over a state made by `state_dict`."""
        self._layers = {
            name: {key: UnitRecord(**record) for key, record in layers.items()}
            for name, layers in state.items()
        }


class UnitRecord(NamedTuple):
    """What is known of a layer's units.

    Attributes:
        utility: Running average of the contributions, from 0, (copies, units).
        activation: That of activations themselves, (copies, features), of which a unit may have
            several (CReLU).
        age: Updates since a unit was made, (copies, units) of int64.
        owed: Units to be replaced, with a fraction, (copies,).
    """

    utility: Tensor
    activation: Tensor
    age: Tensor
    owed: Tensor


def new_record(features: Tensor, units: int) -> UnitRecord:
    """That of units of which nothing is known, given their activations (copies, n, features)."""
    nothing = torch.zeros_like(features[:, 0])
    return UnitRecord(nothing[:, :units], nothing, nothing[:, :units].long(), nothing[:, 0])


def account(record: UnitRecord, features: Tensor, outgoing: Tensor, decay: float) -> UnitRecord:
    """The record after one more update (eq. 1).

    Args:
        record: Before it.
        features: Activations h on its batch, (copies, n, features).
        outgoing: The weights that read them, (copies, out, features).
        decay: η.
    """
    contribution = (features.abs().mean(dim=1) * outgoing.abs().sum(dim=1)).unsqueeze(1)
    of_units = magnitudes(contribution, record.utility.shape[1]).squeeze(1)
    return record._replace(
        utility=decay * record.utility + (1 - decay) * of_units,
        activation=decay * record.activation + (1 - decay) * features.mean(dim=1),
        age=record.age + 1,
    )


def correction(record: UnitRecord, decay: float) -> Tensor:
    """The weight 1 − η^age of all that has gone into the averages, (copies, units)."""
    return 1 - decay**record.age


def replace_units(
    record: UnitRecord, *, rate: float, maturity: int, decay: float
) -> tuple[UnitRecord, Tensor]:
    """The units that are due, and the record once they are new (algorithm 1).

    Args:
        record: After `account`.
        rate: ρ.
        maturity: Age up to which a unit is safe.
        decay: η.

    Returns:
        The record, and the units, (copies, units) of bool.
    """
    mature = record.age > maturity
    owed = record.owed + rate * mature.sum(dim=1)
    count = owed.floor()
    utility = record.utility / correction(record, decay)
    order = utility.masked_fill(~mature, torch.inf).argsort(dim=1, stable=True)
    due = (order.argsort(dim=1) < count.unsqueeze(1)) & mature
    return (
        UnitRecord(
            utility=record.utility.masked_fill(due, 0),
            activation=record.activation.masked_fill(
                of_features(due, record.activation.shape[1]), 0
            ),
            age=record.age.masked_fill(due, 0),
            owed=owed - count,
        ),
        due,
    )
