"""Progressive networks: a new column for each task (Rusu et al. 2016)."""

from __future__ import annotations

from torch import nn

from lifelong_rl.continual.base import ContinualMethod, Scope
from lifelong_rl.errors import UserError
from lifelong_rl.learning.protocols import Learner
from lifelong_rl.networks.progressive import ProgressiveMLP
from lifelong_rl.networks.spec import NetworkSpec


class Progressive(ContinualMethod):
    """Progressive networks: a new column for each task, fed by the frozen columns before it.

    Nothing that an old task uses ever changes. That holds for all of a component: what it has
    beside the columns, such as an image encoder, is learned in the first task and then frozen too.

    Args:
        adapter_dim: Units of the adapter between the earlier columns and a layer. In the paper it
            is as wide as the layer below; narrower ones keep the cost near that of the columns.
        scope: See `ContinualMethod`.

    Raises:
        ValueError: An adapter without units.

    References:
        Rusu et al. 2016, Progressive neural networks.
    """

    def __init__(self, *, adapter_dim: int = 32, scope: Scope = "policy") -> None:
        super().__init__(scope=scope)
        if adapter_dim < 1:
            raise ValueError(f"adapter_dim must be at least 1, not {adapter_dim}")
        self.adapter_dim = adapter_dim

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network with a column for each task."""
        return ProgressiveMLP(spec, self.adapter_dim)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Train the task's column only.

        Raises:
            UserError: A component has no network of this method.
        """
        for component in learner.components.values():
            if not self.acts_on(component.role):
                continue
            networks = [m for m in component.module.modules() if isinstance(m, ProgressiveMLP)]
            if not networks:
                raise UserError(
                    f"progressive networks cannot grow '{component.name}': its network was not "
                    "made by the method's build_network"
                )
            freeze(component.module, frozen=task_id > 0)
            for network in networks:
                freeze(network, frozen=True)
                for own in network.task_modules(task_id):
                    freeze(own, frozen=False)


def freeze(module: nn.Module, *, frozen: bool) -> None:
    """Exclude the parameters from training, or include them."""
    for parameter in module.parameters():
        parameter.requires_grad_(not frozen)
        parameter.grad = None  # an optimizer would still step with a gradient left behind
