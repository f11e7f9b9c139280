"""Principal components of the pixels: what a representation must at least be better than."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lifelong_rl.learning.seeding import preserved_generators

FRAMES = 2048
"""To compute the components from, at most."""
OVERSAMPLING = 16
"""Components beside those wanted, which make these exact."""


class PixelPCA(nn.Module):
    """Images in the coordinates of their first principal components.

    Args:
        images: To compute the components from, (n, c, h, w) uint8.
        dim: Number of components; at most n and the number of pixels.
        seed: Of the randomised algorithm (Halko et al. 2011).
    """

    mean: Tensor
    components: Tensor

    def __init__(self, images: Tensor, dim: int = 128, seed: int = 0) -> None:
        super().__init__()
        chosen = images[:: max(len(images) // FRAMES, 1)][:FRAMES]
        pixels = _flatten(chosen)
        with preserved_generators():
            torch.manual_seed(seed)
            mean = pixels.mean(dim=0)
            q = min(dim + OVERSAMPLING, *pixels.shape)
            _, _, components = torch.svd_lowrank(pixels - mean, q=q, niter=4)
        self.register_buffer("mean", mean)
        self.register_buffer("components", components[:, :dim])

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, c, h, w), uint8 or float in [0, 1], to (n, dim)."""
        projected: Tensor = (_flatten(images) - self.mean) @ self.components
        return projected


def _flatten(images: Tensor) -> Tensor:
    pixels = images.flatten(1).float()
    return pixels.mul_(1 / 255) if images.dtype == torch.uint8 else pixels
