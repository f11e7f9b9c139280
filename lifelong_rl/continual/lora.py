"""LoRA: low-rank adapters of a frozen trunk (Hu et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from lifelong_rl.continual.preserving import Preserving, networks_of, train_only
from lifelong_rl.learning.protocols import Learner
from lifelong_rl.networks.low_rank import LowRankMLP
from lifelong_rl.networks.spec import NetworkSpec
from lifelong_rl.options import Count, Positive
from lifelong_rl.registry import METHODS


@METHODS.register("lora")
class LoRA(Preserving):
    """LoRA: the first task trains the trunk, each later one low-rank adapters of it and a head.

    The first task is learned as by fine-tuning; it is what pretraining is in the paper. Then the
    trunk is frozen: weights, biases and normalisation of the hidden layers. A later task k trains a
    head of its own and, for each hidden layer of weights W, the matrices A_k of r rows and B_k of r
    columns in W + (α/r) B_k A_k (eq. 3). B_k starts at zero, so the task starts from the trunk as
    the first one left it, and adds r (inputs + units) parameters for each hidden layer. Nothing
    that an old task uses ever changes. A task that comes again goes on with its adapters and head;
    the first, which has no adapters, with its head alone.

    Where it departs from the paper: that adapts attention's projections of a large pretrained model
    and freezes its feed-forward layers, while here there are hidden layers only, and all are
    adapted; and one task has to do for the pretraining, so that what it did not need a later task
    has to do without, but for what r dimensions of each layer can make up for.

    See `Preserving` for what a component has beside its networks.

    References:
        Hu et al. 2021, LoRA: low-rank adaptation of large language models, section 4.1.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Preserving.Options):
        """Options of LoRA.

        Attributes:
            rank: r. Hu et al. 2021 find 1 to 8 enough for a language model that is pretrained on
                far more than one task (section 7.2); the largest of these, untuned.
            alpha: α, the scale of an adapter times r. Hu et al. 2021 set it to the first r that
                they try (section 4.1) and leave it there when they vary r.
        """

        rank: Count = 8
        alpha: Positive = 8.0

    options: Options

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """A network with adapters for each task but the first."""
        return LowRankMLP(spec, self.options.rank, self.options.alpha)

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """Train the task's adapters and head, and what tasks share while the first is learned.

        Raises:
            UserError: A component has no network of this method.
        """
        super().begin_task(learner, task_id)
        for component in self.components(learner).values():
            for network in networks_of(component, LowRankMLP, "lora"):
                train_only(task_id - 1, network.adapters)
