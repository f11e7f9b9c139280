"""No objective: labelled rows alone are learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from lifelong_rl.agents.unlabelled.base import Logits, Setting, UnlabelledObjective
from lifelong_rl.agents.unlabelled.views import view
from lifelong_rl.errors import UserError
from lifelong_rl.learning import Batch
from lifelong_rl.registry import UNLABELLED_OBJECTIVES


@UNLABELLED_OBJECTIVES.register("none")
class NoObjective(UnlabelledObjective):
    """None: learn the labelled rows alone, as `classifier` does; what the others have to beat.

    With `view` these are changed at random, as `fixmatch` changes its labelled rows: what is left
    of a gain over that is due to the rows without labels.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(UnlabelledObjective.Options):
        """Options of NoObjective.

        Attributes:
            view: What the network is shown of labelled rows: the rows themselves, or weak or strong
                views of them (untuned: plain, as `classifier`).
        """

        view: Literal["plain", "weak", "strong"] = "plain"

    draws: ClassVar[bool] = False
    options: Options

    def __init__(
        self, setting: Setting, options: Options | None = None, /, **given: object
    ) -> None:
        super().__init__(setting, options, **given)
        if self.options.view != "plain" and setting.layout is None:
            raise UserError(
                f"there are no {self.options.view} views of the rows of these tasks, which are no "
                "pictures; leave out view"
            )

    def view_labelled(self, rows: Tensor) -> Tensor:
        """The rows, or views of them."""
        if self.options.view == "plain":
            return rows
        return view(rows, self.setting.layout, strong=self.options.view == "strong")

    def loss(self, logits: Logits, batch: Batch) -> Tensor:
        """Nothing."""
        return batch["observations"].new_zeros(())
