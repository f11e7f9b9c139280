"""CaSSLe: the encoder shall still tell what the encoder before it could tell."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lifelong_rl.compatibility import Trait
from lifelong_rl.errors import UserError
from lifelong_rl.learning.method import ContinualMethod
from lifelong_rl.learning.protocols import Batch, Component, Learner
from lifelong_rl.options import Count, Positive, Scope
from lifelong_rl.registry import ENCODER_METHODS
from lifelong_rl.vision.encoder import Encoder
from lifelong_rl.vision.heads import mlp
from lifelong_rl.vision.objectives.base import SelfSupervised


@ENCODER_METHODS.register("cassle")
class CaSSLe(ContinualMethod):
    """Distil the encoder of the tasks before by the objective's own comparison of embeddings.

    A predictor maps the features of a view to those that the encoder had for the same view when the
    last task ended; the objective compares the two as it compares two views of a frame. So the
    features may change as long as the old ones can be told from them. The predictor is made anew
    for every task and learns with the encoder. The paper distils what a projector makes of the
    features, for both views; here it is the features themselves, and a view drawn for it alone.

    References:
        Fini et al. 2022, Self-supervised models are continual learners, section 4.
    """

    needs: ClassVar[tuple[Trait, ...]] = ("comparison",)

    @dataclass(frozen=True, kw_only=True)
    class Options(ContinualMethod.Options):
        """Options of CaSSLe.

        Attributes:
            strength: Weight of the distillation, beside the objective's own loss (Fini et al. 2022,
                in their implementation).
            hidden: Units of the predictor's hidden layer (untuned; 2048 in the implementation of
                Fini et al. 2022).
        """

        strength: Positive = 1.0
        hidden: Count = 512
        scope: Scope = field(default="both", init=False)

    options: Options

    def __init__(self, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(options, **given)
        self.old: Encoder | None = None
        self.predictor: nn.Module | None = None

    def begin_task(self, learner: Learner, task_id: int) -> None:
        """From the second task on, keep the encoder as it is and give the optimizer a predictor.

        Raises:
            UserError: The objective compares no embeddings.
        """
        for name, component in self.components(learner).items():
            objective = _objective(component)
            if type(objective).contrast is SelfSupervised.contrast:
                raise UserError(
                    f"cassle distils by comparing embeddings as the objective does, and '{name}' "
                    "does not compare two of a frame; choose simclr or moco"
                )
            if task_id:
                self.old = copy.deepcopy(objective.encoder).requires_grad_(False)
                predictor = mlp(objective.dim, self.options.hidden, objective.dim)
                self.predictor = predictor.to(objective.device)
                component.optimizer.add_param_group({"params": list(self.predictor.parameters())})

    def penalty(self, component: Component, batch: Batch) -> Tensor | None:
        """The objective's loss of predicted and old features of the same views."""
        if self.old is None or self.predictor is None:
            return None
        objective = _objective(component)
        views = objective.augmentation.views(batch["images"][:, :1], aligned=False)
        with torch.no_grad():
            old = self.old(views)
        distilled = objective.contrast(self.predictor(objective.encoder(views)), old, batch)
        return None if distilled is None else self.options.strength * distilled


def _objective(component: Component) -> SelfSupervised:
    if not isinstance(component.module, SelfSupervised):
        raise UserError(f"cassle is for encoders; '{component.name}' is none")
    return component.module
