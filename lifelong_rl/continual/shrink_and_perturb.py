"""Shrink and perturb (Ash & Adams 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from lifelong_rl.continual.initial import Renewing, of_networks, redraw, shrink_and_add
from lifelong_rl.learning.protocols import Component
from lifelong_rl.options import Count, NonNegative, Scope, Share
from lifelong_rl.registry import METHODS


@METHODS.register("shrink-and-perturb")
class ShrinkAndPerturb(Renewing):
    """Shrink and perturb: start a task from smaller weights and some noise.

    When a task begins that is not the first, or after every `every` steps, parameters become
    λ θ + γ ε (Ash & Adams 2020, section 4). As the paper suggests and its authors' code does, ε is
    a new initialisation, so that the noise has the scale that each layer began with: the initial
    values of the layer in a new random order. Biases and normalisation are part of it, as there.

    Of several heads none is changed, which belong to one task each, nor is what a component has
    beside its networks, such as an image encoder. Target networks get the same factor and the same
    noise. The optimizer keeps its moments: at a switch the agent forgets them by default, and
    within a task Adam would not work without them.

    What other methods hold by the gradient, as `packnet` does, is not held against this.

    References:
        Ash & Adams 2020, On warm-starting neural network training.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Renewing.Options):
        """Options of ShrinkAndPerturb.

        Attributes:
            shrink: λ (authors' code: 0.4).
            perturb: γ (authors' code: 0.1).
            every: Gradient steps of a component from one time to the next; null for the beginnings
                of tasks (Ash & Adams 2020: whenever there is new data). For every step, which
                Kumar et al. 2023 do in appendix A.3, their best factor is 0.9999 and their best
                noise 0.01 on most problems.
            scope: Which components it acts on: the networks that the agent is evaluated by
                (policy), those that only help learning (value), or both (untuned: both have to
                learn on).
        """

        shrink: Share = 0.4
        perturb: NonNegative = 0.1
        every: Count | None = None
        scope: Scope = "both"

    options: Options

    def renew(self, component: Component, task_id: int) -> None:
        """θ ← λ θ + γ ε."""
        initial = self._initial[component.name]
        noise = {
            name: self.options.perturb * redraw(initial[name])
            for name, parameter in of_networks(component, heads=False).items()
            # not log standard deviations, as vcl's, which would grow
            if parameter.requires_grad and name.endswith(("weight", "bias"))
        }
        shrink_and_add(component, noise, self.options.shrink)
