"""Resets of networks or of their last layers (Nikishin et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from lifelong_rl.continual.initial import Renewing, redraw, shrink_and_add
from lifelong_rl.learning.parameters import forget_moments
from lifelong_rl.learning.protocols import Component
from lifelong_rl.networks import MultiHeadMLP
from lifelong_rl.networks.mlp import ALL
from lifelong_rl.options import Count, Scope
from lifelong_rl.registry import METHODS


@METHODS.register("reset")
class Reset(Renewing):
    """Resets: initialise networks or their last layers anew, when a task begins or now and then.

    The new values are the initial ones of each layer in a new random order. The optimizer forgets
    the moments of what is reset, and target networks are reset to the same values. What a
    component has beside its networks stays, such as an image encoder.

    Nothing of what is reset is left: with the whole networks, a task is learned from scratch, and
    old ones are forgotten at once. In the paper the replay buffer then teaches the new networks
    what the old ones knew; it is still there for resets within a task, but agents empty theirs at a
    switch (unless `reset_buffer` is off). PPO keeps no experience, and after a reset within a
    rollout its clipping leaves little to learn from the rest of that rollout.

    Where the trunk is reset, so are all heads, which have nothing left to read; where the heads
    alone are, that of the task at hand. At a switch that changes something only where a task's head
    has been learned before: under one head, or when a task comes again.

    What other methods hold by the gradient, as `packnet` does, is not held against this.

    References:
        Nikishin et al. 2022, The primacy bias in deep reinforcement learning, section 4.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Renewing.Options):
        """Options of Reset.

        Attributes:
            part: What is reset: the heads, the last hidden layer and the heads (last-layers), or
                the whole networks (all; so do Nikishin et al. 2022 with SAC from states, while they
                keep encoders).
            every: Gradient steps of a component from one reset to the next (Nikishin et al. 2022:
                200 000 with SAC); null for the beginnings of tasks (untuned: what is lost is
                needed least then).
            scope: Which components it acts on: the networks that the agent is evaluated by
                (policy), those that only help learning (value), or both (Nikishin et al. 2022).
        """

        part: Literal["heads", "last-layers", "all"] = "all"
        every: Count | None = None
        scope: Scope = "both"

    options: Options

    def renew(self, component: Component, task_id: int) -> None:
        """Initialise the part anew."""
        initial = self._initial[component.name]
        names = {id(p): name for name, p in component.module.named_parameters()}
        for network in component.module.modules():
            if not isinstance(network, MultiHeadMLP):
                continue
            renewed = [p for p in self._part(network) if p.requires_grad]
            alone = self.options.part == "heads" and network.spec.num_tasks > 1
            fresh = {names[id(p)]: redraw(initial[names[id(p)]]) for p in renewed}
            shrink_and_add(component, fresh, 0, network.rows_of_head(task_id) if alone else ALL)
            forget_moments(component.optimizer, renewed)

    def _part(self, network: MultiHeadMLP) -> list[nn.Parameter]:
        """The parameters to reset."""
        parts: dict[str, list[nn.Module]] = {
            "heads": [network.heads],
            "last-layers": [network.hidden[-1], network.heads],
            "all": [network],
        }
        return [p for module in parts[self.options.part] for p in module.parameters()]
