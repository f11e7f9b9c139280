"""Progressive networks: a new column for each task (Rusu et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lifelong_rl.continual.preserving import Preserving, networks_of, train_only
from lifelong_rl.learning.protocols import Learner
from lifelong_rl.networks.progressive import ProgressiveMLP
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import Count
from lifelong_rl.registry import METHODS


@METHODS.register("progressive")
class Progressive(Preserving):
    """Progressive networks: a new column for each task, fed by the frozen columns before it.

    Nothing that an old task uses ever changes; see `Preserving` for what a component has beside the
    columns.

    References:
        Rusu et al. 2016, Progressive neural networks.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Preserving.Options):
        """Options of Progressive.

        Attributes:
            adapter_dim: Units of the adapter between the earlier columns and a layer (untuned). In
                the paper it is as wide as the layer below; narrower ones keep the cost near that of
                the columns.
        """

        adapter_dim: Count = 32

    options: Options

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network with a column for each task."""
        return ProgressiveMLP(spec, self.options.adapter_dim)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Train the task's column only.

        Raises:
            UserError: A component has no network of this method.
        """
        super().begin_task(learner, task_id)
        for component in self.components(learner).values():
            for network in networks_of(component, ProgressiveMLP, "progressive"):
                train_only(task_id, network.columns)
                train_only(task_id, network.laterals)
