"""Self-supervised objectives by name.

`make("simclr", frames, temperature=0.2)` builds one; `OBJECTIVES` lists what exists, plug-ins
included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lifelong_rl.errors import ContractError, UserError
from lifelong_rl.options import check_options
from lifelong_rl.registry import OBJECTIVES

if TYPE_CHECKING:
    from lifelong_rl.vision.augment import Augmentation
    from lifelong_rl.vision.frames import Frames
    from lifelong_rl.vision.objectives.base import SelfSupervised


def make(
    name: str, frames: Frames, augmentation: Augmentation | None = None, **options: Any
) -> SelfSupervised:
    """Build the objective called `name`.

    Args:
        name: A name from `lifelong-rl list objectives`.
        frames: To train on.
        augmentation: How images are changed; by default as `Augmentation` says.
        options: Keyword arguments of the objective's class.

    Raises:
        UnknownNameError: No such objective, or no such option of it.
        UserError: An option has a value that the objective does not accept, or the frames lack what
            it needs.
    """
    from lifelong_rl.vision.augment import Augmentation
    from lifelong_rl.vision.objectives.base import SelfSupervised

    factory = OBJECTIVES.get(name)
    if not issubclass(factory, SelfSupervised):
        raise ContractError(f"the objective '{name}'", f"{factory!r} is not {OBJECTIVES.is_a}")
    owner = f"objective '{name}'"
    checked = check_options(factory, options, owner)
    try:
        objective: SelfSupervised = factory(frames, augmentation or Augmentation(), **checked)
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{owner}: {error}") from error
    return objective


__all__ = ["OBJECTIVES", "make"]
