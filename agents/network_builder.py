"""Who makes the network of a component."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from lifelong_rl.continual import ContinualMethod
from lifelong_rl.errors import ContractError
from lifelong_rl.learning import Role
from lifelong_rl.networks import MultiHeadMLP, NetworkSpec

BuildNetwork = Callable[[Role, NetworkSpec], nn.Module]
"""Makes the network of a component of a role."""


@dataclass(frozen=True)
class NetworkBuilder:
    """Makes the networks that a continual method acts on by the method, others plainly.

    Attributes:
        method: The continual method; None for plain learning.
    """

    method: ContinualMethod | None = None

    def __call__(self, role: Role, spec: NetworkSpec) -> nn.Module:
        """Make the network of a component.

        Raises:
            ContractError: The method makes something else.
        """
        if self.method is None or not self.method.acts_on(role):
            return MultiHeadMLP(spec)
        network = self.method.build_network(spec)
        if not isinstance(network, nn.Module):
            raise ContractError(
                f"the method {type(self.method).__name__}",
                f"build_network returns {network!r}, not a torch Module",
            )
        return network


BUILD_PLAINLY = NetworkBuilder()
