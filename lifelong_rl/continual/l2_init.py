"""L2 Init: regenerative regularisation (Kumar et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lifelong_rl.continual.initial import FromInitial, of_networks
from lifelong_rl.learning.parameters import flatten
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.options import NonNegative, Scope
from lifelong_rl.registry import METHODS


@METHODS.register("l2-init")
class L2Init(FromInitial):
    """L2 Init: pull parameters back to where they began, so that they can learn again.

    All tasks, the first too, add λ Σ_i (θ_i − θ0_i)² to their loss, with θ0 the initial parameters
    (Kumar et al. 2023, section 3; there is no ½). What the loss does not depend on drifts back to
    θ0, from where a new task can learn it. That keeps no task from being forgotten, and is the same
    at every step, so no switch needs to be told.

    The paper regularises all parameters of a network with one head. Here those of the networks are,
    but of several heads none, which belong to one task each: with Adam, whose steps do not depend
    on the scale of a gradient, the penalty alone would soon undo the heads of old tasks. What a
    component has beside its networks is left as well, such as an image encoder.

    References:
        Kumar et al. 2023, Maintaining plasticity in continual learning via regenerative
        regularization.
    """

    needs_boundaries: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Options(FromInitial.Options):
        """Options of L2Init.

        Attributes:
            strength: λ (Kumar et al. 2023, appendix A.2.5: the best one value for all their
                problems).
            scope: Which components it acts on: the networks that the agent is evaluated by
                (policy), those that only help learning (value), or both (untuned: both have to
                learn on).
        """

        strength: NonNegative = 0.01
        scope: Scope = "both"

    options: Options

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """λ Σ (θ − θ0)²."""
        initial = self._initial[component.name]
        held = {
            name: parameter
            for name, parameter in of_networks(component, heads=False).items()
            if parameter.requires_grad
        }
        if not held:
            return None
        moved = flatten(held) - flatten({name: initial[name] for name in held})
        return self.options.strength * moved.dot(moved)
