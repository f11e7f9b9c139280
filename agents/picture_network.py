"""A network that sees rows as pictures, by convolutions before the layers that methods make."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from lifelong_rl.networks.spec import TaskNetwork
from lifelong_rl.vision.encoder import Encoder, EncoderSpec

SMALLEST = 32
"""Edge of the pictures that an encoder is shown, at least, in pixels."""


class PictureLayout(Protocol):
    """How the features of a row are pictures; see `lifelong_rl.envs.labelled_data.Layout`."""

    height: int
    width: int
    channels: int
    cameras: tuple[str, ...]
    span: tuple[float, float]


class PictureNetwork(TaskNetwork):
    """An encoder of each camera's picture, and a network of the features.

    Args:
        layout: How rows are pictures.
        encoder: Of the pictures of all cameras, one after another.
        head: A `TaskNetwork` of the features of all cameras.
        auxiliary: What is learned beside them, with parameters of its own; None for nothing.
    """

    def __init__(
        self,
        layout: PictureLayout,
        encoder: Encoder,
        head: nn.Module,
        auxiliary: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.layout = layout
        self.encoder, self.head, self.auxiliary = encoder, head, auxiliary

    def forward(self, inputs: Tensor, task: Tensor | None = None) -> Tensor:
        """See `TaskNetwork`."""
        pictures = to_pictures(inputs, self.layout)
        features = self.encoder(enlarge(pictures.flatten(0, 1)))
        found: Tensor = self.head(features.reshape(inputs.shape[0], -1), task)
        return found


def make_encoder(layout: PictureLayout) -> Encoder:
    """An encoder of pictures as `enlarge` makes them."""
    times = _times(layout.height, layout.width)
    return Encoder(EncoderSpec(height=times * layout.height, width=times * layout.width))


def to_pictures(rows: Tensor, layout: PictureLayout) -> Tensor:
    """Rows (m, d) as colour pictures in [0, 1], (m, cameras, 3, height, width)."""
    low, high = layout.span
    shape = -1, len(layout.cameras), layout.height, layout.width, layout.channels
    shown = rows.reshape(shape).movedim(-1, 2).sub(low).div(high - low).clamp(0, 1)
    return shown.expand(-1, -1, 3, -1, -1)


def enlarge(pictures: Tensor) -> Tensor:
    """Pictures (m, c, h, w) with each pixel so often that no edge is below `SMALLEST`."""
    times = _times(*pictures.shape[-2:])
    return pictures.repeat_interleave(times, dim=-1).repeat_interleave(times, dim=-2)


def _times(height: int, width: int) -> int:
    return -(-SMALLEST // min(height, width))
