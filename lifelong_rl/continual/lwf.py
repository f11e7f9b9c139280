"""Learning without forgetting: distillation on the current task's data (Li & Hoiem 2016)."""

from __future__ import annotations

from dataclasses import dataclass

from lifelong_rl.continual.distillation import Distillation
from lifelong_rl.learning.protocols import Batch, Component
from lifelong_rl.options import NonNegative, Positive
from lifelong_rl.registry import METHODS


@METHODS.register("lwf")
class LwF(Distillation):
    """Learning without forgetting: keep what the old heads say, on the current task's data.

    Nothing is stored but a copy of the parameters. The penalty is strength · E_x KL(p_old(x) ‖
    p_θ(x)), with the rows x those of the current batch as if each were of an old task that is
    drawn at random; its gradient is that of the cross entropy in eq. 2. One old task for each row
    makes this the mean over the old tasks, at a cost that does not grow with them, where the paper
    sums over all.

    The paper first trains the new head alone ("warm-up"); here all is trained from the start, as
    its algorithm's joint step does.

    With γ above 0 each row counts by how far it is from what the old network says of it: see
    `distillation.adapt`.

    References:
        Li & Hoiem 2016, Learning without forgetting, eq. 2 and 3, figure 3.
        Tang et al. 2019, Learning efficient detector with semi-supervised adaptive distillation.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(Distillation.Options):
        """Options of LwF.

        Attributes:
            strength: λ_o (paper: 1).
            temperature: T of categorical predictions (paper: 2).
        """

        strength: NonNegative = 1.0
        temperature: Positive = 2.0

    def rows(self, component: Component, batch: Batch) -> Batch:
        """The current batch's inputs as if its rows were of old tasks."""
        inputs = {key: batch[key] for key in component.inputs}
        first = next(iter(inputs.values()))
        return component.with_task(inputs, self.draw_old_tasks(len(first), first.device))
