"""A self-supervised objective beside the labels: an encoder learns from both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lifelong_rl.agents.picture_network import enlarge, to_pictures
from lifelong_rl.agents.unlabelled.base import Logits, Setting, UnlabelledObjective, companions
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch
from lifelong_rl.options import NonNegative
from lifelong_rl.registry import UNLABELLED_OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.objectives import make
from lifelong_rl.vision.objectives.base import SelfSupervised


@UNLABELLED_OBJECTIVES.register("ssl")
class SSL(UnlabelledObjective):
    """Self-supervision: the encoder of the pictures also learns an objective without labels.

    Adds the loss of one of the objectives of `lifelong-rl pretrain` on the unlabelled rows, as
    pictures of at least 32×32 pixels; its encoder is the one that the network sees through, so it
    goes with encoder=true. With name=simclr that is SimCLR and labels together (Zhai et al. 2019 do
    so with rotation, eq. 2).

    Rows of a batch see each other where the objective contrasts them, so the loss of a row is not
    its own alone. Left out are objectives that draw frames which follow each other or are of two
    cameras, as rows are single pictures; those that keep something of each frame, which the next
    task has not; and those about colours where pictures have none.

    References:
        Zhai et al. 2019, S4L: self-supervised semi-supervised learning.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(UnlabelledObjective.Options):
        """Options of SSL.

        Attributes:
            weight: Of the objective (Zhai et al. 2019: 1).
            name: Of the objective, see `lifelong-rl list objectives` (untuned).
        """

        weight: NonNegative = 1.0
        name: str = "simclr"

    needs_pictures: ClassVar[bool] = True
    needs_encoder: ClassVar[bool] = True
    options: Options

    def __init__(self, setting: Setting, options: Options | None = None, /, **given: Any) -> None:
        super().__init__(setting, options, **given)
        assert setting.layout is not None and setting.rows is not None
        name = self.options.name
        self.auxiliary: SelfSupervised = make(name, self._frames(setting.rows), Augmentation())
        reason = find_reason(self.auxiliary, setting.layout.channels)
        if reason is not None:
            raise UserError(f"ssl cannot learn '{name}' from single rows: {reason}")

    def loss(self, logits: Logits, batch: Batch) -> Tensor:
        """The objective's loss of all unlabelled rows of the batch together."""
        rows, _ = companions(batch)
        images = self._images(rows)
        index = torch.arange(len(images), device=rows.device)
        shown = {
            "images": images.unsqueeze(1),
            "index": index,
            "episode": index,
            "position": torch.zeros_like(index),
        }
        return self.options.weight * self.auxiliary.loss(shown)

    def after_update(self, module: nn.Module, batch: Batch) -> None:
        """Let the objective move what follows its encoder."""
        assert self.optimizer is not None
        self.auxiliary.after_step(self.optimizer)

    def _images(self, rows: Tensor) -> Tensor:
        """Rows (m, d) as pictures of each camera, (m · cameras, 3, height, width) uint8."""
        assert self.setting.layout is not None
        shown = enlarge(to_pictures(rows, self.setting.layout).flatten(0, 1))
        return shown.mul(255).round().to(torch.uint8)

    def _frames(self, rows: Tensor) -> Frames:
        images = self._images(rows)
        count = np.arange(len(images))
        nothing = np.zeros(len(images), np.int64)
        names: dict[str, Any] = {"tasks": ["rows"], "cameras": ["camera"], "policies": ["any"]}
        return Frames(
            images.unsqueeze(1).numpy(), count, nothing, nothing, nothing, labels={}, metadata=names
        )


def find_reason(objective: SelfSupervised, channels: int) -> str | None:
    """Why an objective cannot be learned from single rows; None if it can.

    Args:
        objective: Of pictures.
        channels: Of the rows' pictures; with 1 they have no colours.
    """
    if objective.knows_frames:
        return "it keeps something of each frame, and cannot go on to those of another task"
    if type(objective).draw is not SelfSupervised.draw:
        return "it draws frames that follow each other"
    if objective.num_cameras > 1:
        return "it compares cameras"
    if channels == 1 and objective.encoder.spec.views != ("rgb",):
        return "it is about colours, and their pictures have none"
    return None
