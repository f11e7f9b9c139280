"""Co-training: what one camera is sure of, the other learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from lifelong_rl.agents.unlabelled.base import (
    Logits,
    Setting,
    UnlabelledObjective,
    companions,
    confident,
    one_camera,
    ramp,
)
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch
from lifelong_rl.options import NonNegative, Share
from lifelong_rl.registry import UNLABELLED_OBJECTIVES


@UNLABELLED_OBJECTIVES.register("co-training")
class CoTraining(UnlabelledObjective):
    """Co-training: each of two cameras is taught the classes that the other is sure of.

    The two views of Blum and Mitchell (1998) are two cameras. Adds, for labelled rows, the mean
    cross-entropy of each camera alone; and for unlabelled ones, ½ Σ_k mean 1(max p_k ≥ τ) H(ŷ_k,
    p_other), with p_k what the network says of what camera k alone sees and ŷ_k its most probable
    class. Evaluation sees both cameras.

    Departures: one network which sees a camera at a time, the other's pixels at 0, in place of two
    classifiers, so that continual methods have one network to protect; a threshold in place of the
    paper's few most confident rows of each class from a pool; and classes are chosen anew at every
    update in place of once.

    References:
        Blum and Mitchell 1998, Combining labeled and unlabeled data with co-training.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(UnlabelledObjective.Options):
        """Options of CoTraining.

        Attributes:
            weight: Of the exchange (untuned: as that of labelled rows).
            threshold: τ (untuned: as FixMatch's).
            full: Share of a task's updates in which the weight of the exchange grows from 0
                (untuned).
        """

        weight: NonNegative = 1.0
        threshold: Share = 0.95
        full: Share = 0.2

    needs_pictures: ClassVar[bool] = True
    options: Options

    def __init__(self, setting: Setting, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(setting, options, **given)
        assert setting.layout is not None
        cameras = setting.layout.cameras
        if len(cameras) != 2:
            raise UserError(
                f"co-training needs the pictures of two cameras, and these tasks have "
                f"{len(cameras)} ({', '.join(cameras)}); take --sequence frames-two-cameras"
            )
        self.layout = setting.layout

    def loss(self, logits: Logits, batch: Batch) -> Tensor:
        """Both cameras alone on labelled rows, and the exchange between them on the others."""
        shown, label = batch["observations"], batch["labels"]
        task = batch.get("task")
        alone = [
            F.cross_entropy(logits(one_camera(shown, self.layout, k), task), label) for k in (0, 1)
        ]
        rows, tasks = companions(batch)
        first, second = (logits(one_camera(rows, self.layout, k), tasks) for k in (0, 1))
        weight = self.options.weight * ramp(self.share, 0.0, self.options.full)
        return 0.5 * (alone[0] + alone[1]) + weight * exchange(
            first, second, self.options.threshold
        )


def exchange(first: Tensor, second: Tensor, threshold: float) -> Tensor:
    """What each of two views loses on the classes that the other is sure of, the mean of both.

    Args:
        first: Logits of one view, (m, classes).
        second: Logits of the other.
        threshold: Smallest probability of a class that is passed on.
    """
    total = first.new_zeros(())
    for teacher, student in ((first, second), (second, first)):
        label, mask = confident(teacher, threshold)
        total = total + (mask * F.cross_entropy(student, label, reduction="none")).mean()
    return 0.5 * total
