"""CompoNet: self-composing policies (Malagon et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lifelong_rl.continual.preserving import Preserving, networks_of, train_only
from lifelong_rl.learning.protocols import Learner
from lifelong_rl.networks.self_composing import SelfComposingMLP
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import Count
from lifelong_rl.registry import METHODS


@METHODS.register("componet")
class CompoNet(Preserving):
    """CompoNet: a module for each task, which attends over the outputs of the frozen ones before.

    A module proposes a mean of what the earlier ones put out, weighted by attention, and adds what
    a policy of its own makes of the inputs and of a second look at these outputs and the proposal.
    It reads outputs alone, where `progressive` reads all features: parameters grow linearly with
    the tasks. Only the task's module is trained, so nothing that an old task uses ever changes.

    It is written from descriptions of the paper, not from its code. Where it departs, because a
    method sees networks and not what their outputs mean: modules compose all that a network puts
    out, with SAC means and log standard deviations together, where the paper composes means; a
    classifier's logits, where it composes probabilities; and nothing is normalised at the end.
    Where tasks have actions of different sizes, entries that an earlier task has not are read with
    the others. There is one encoder of images, see `Preserving`, where the paper has one for each
    module. The agents' critics go on from task to task, where the paper's is new in each.

    References:
        Malagon et al. 2024, Self-composing policies for scalable continual reinforcement learning,
        section 4.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Preserving.Options):
        """Options of CompoNet.

        Attributes:
            model_dim: Size of queries, keys and values. Malagon et al. 2024 have 256 on Meta-World,
                as many as units in a hidden layer, of which the agents here have 128.
        """

        model_dim: Count = 128

    options: Options

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network with a module for each task."""
        return SelfComposingMLP(spec, self.options.model_dim)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Train the task's module only.

        Raises:
            UserError: A component has no network of this method.
        """
        super().begin_task(learner, task_id)
        for component in self.components(learner).values():
            for network in networks_of(component, SelfComposingMLP, "componet"):
                train_only(task_id, network.columns)
