"""Jigsaw: in which order are the tiles of a frame that was cut up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

from lifelong_rl.learning.protocols import Batch
from lifelong_rl.registry import OBJECTIVES
from lifelong_rl.vision.augment import Augmentation
from lifelong_rl.vision.frames import Frames
from lifelong_rl.vision.heads import from_patches, to_patches
from lifelong_rl.vision.objectives.base import SelfSupervised

CANDIDATES = 1000
"""Random orders to choose the most different ones from."""


@OBJECTIVES.register("jigsaw")
class Jigsaw(SelfSupervised):
    """Jigsaw: tell in which of some orders the tiles of a frame were put together again.

    The encoder sees the whole puzzle at once, as in Carlucci et al., not its tiles one by one.

    Args:
        frames: To train on.
        augmentation: How images are changed before they are cut up.

    References:
        Noroozi & Favaro 2016, Unsupervised learning of visual representations by solving jigsaw
        puzzles.
        Carlucci et al. 2019, Domain generalization by solving jigsaw puzzles.
    """

    @dataclass(frozen=True, kw_only=True)
    class Options(SelfSupervised.Options):
        """Options of Jigsaw.

        Attributes:
            grid: Tiles along either axis; it must divide the image (untuned; 3 in both papers).
            permutations: Number of orders (untuned; 30 in Carlucci et al. 2019).
        """

        grid: Annotated[int, Ge(2)] = 4
        permutations: Annotated[int, Ge(2)] = 32

    options: Options

    permutations: Tensor

    def __init__(
        self,
        frames: Frames,
        augmentation: Augmentation,
        options: Options | None = None,
        /,
        **given: Any,
    ) -> None:
        super().__init__(frames, augmentation, options, **given)
        self.height, self.width = frames.images.shape[-2:]
        grid, permutations = self.options.grid, self.options.permutations
        if self.height % grid or self.width != self.height:
            raise ValueError(f"{grid}×{grid} square tiles do not make {self.width}×{self.height}")
        self.side = self.height // grid
        self.register_buffer("permutations", different_permutations(grid**2, permutations))
        self.head = nn.Linear(self.dim, permutations)

    def collapse_value(self, n: int) -> float:
        """The logarithm of the number of orders."""
        return math.log(len(self.permutations))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the order of each frame's tiles."""
        tiles = to_patches(self.augmentation.views(batch["images"]), self.side)
        which = torch.randint(len(self.permutations), (len(tiles),), device=tiles.device)
        rows = torch.arange(len(tiles), device=tiles.device)
        tiles = tiles[rows.unsqueeze(1), self.permutations[which]]
        puzzles = from_patches(tiles, self.side, self.height, self.width)
        return F.cross_entropy(self.head(self.encoder(puzzles)), which)


def different_permutations(length: int, count: int) -> Tensor:
    """Orders that differ in many places, (count, length): each is the farthest from those before.

    Draws from torch's global generator.

    Raises:
        ValueError: There are not so many.
    """
    if count > math.factorial(min(length, 10)):
        raise ValueError(f"{length} tiles have fewer than {count} orders")
    candidates = torch.stack([torch.randperm(length) for _ in range(max(CANDIDATES, 4 * count))])
    chosen = [int(torch.randint(len(candidates), ()))]
    distance = torch.full((len(candidates),), length + 1)
    for _ in range(count - 1):
        apart = (candidates != candidates[chosen[-1]]).sum(dim=1)
        distance = torch.minimum(distance, apart)
        chosen.append(int(distance.argmax()))
    return candidates.index_select(0, torch.tensor(chosen))
