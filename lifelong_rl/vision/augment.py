"""Random changes of images, for whole batches: what an encoder shall learn to see through.

No flips and no rotations, because left and right matter to a robot; no hue, because the goal may be
known by its colour; and a shift that all views of a frame share, because places must not be lost.

How far views are shifted apart besides (`relative_shift`) is a choice. With nothing between them
two views lie pixel on pixel, and there is next to nothing to learn in matching them. A pixel or two
keep places sharply apart; more of them make features of near places alike, from which a network
that knows few places better tells new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lifelong_rl.options import ShareBelowOne, Whole, check_options
from lifelong_rl.vision.encoder import to_float


@dataclass(frozen=True)
class Augmentation:
    """How strongly images are changed.

    Attributes:
        shift: Largest shift in pixels, along either axis; the views of a sample share it.
        relative_shift: Largest further shift in pixels of each view by itself, where views are to
            be found alike.
        brightness: Largest change of the brightness, of 1.
        contrast: Largest relative change of the contrast.
        cutout: Largest side in pixels of the rectangle that is painted over.

    Raises:
        OptionError: A number outside its range.
    """

    shift: Whole = 4
    relative_shift: Whole = 2
    brightness: ShareBelowOne = 0.2
    contrast: ShareBelowOne = 0.2
    cutout: Whole = 12

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_options(Augmentation, vars(self), "")

    def shifted(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """Only shift (n, k, c, h, w) uint8: the same for the k images of a row.

        Returns:
            (k · n, c, h, w) uint8: the first image of all rows, then the second ….
        """
        return random_shift(images, self.shift, generator).transpose(0, 1).flatten(0, 1)

    def view(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """Change (n, c, h, w), uint8 or float in [0, 1], in all but position: float in [0, 1]."""
        changed = jitter(images, self.brightness, self.contrast, generator)
        return cutout_(changed, self.cutout, generator)

    def views(
        self,
        images: Tensor,
        copies: int = 1,
        generator: Generator | None = None,
        *,
        aligned: bool = True,
    ) -> Tensor:
        """Change every image of (n, k, c, h, w) uint8, each row shifted alike.

        Args:
            images: (n, k, c, h, w) uint8.
            copies: How many different views to make of each image.
            generator: Draws; by default torch's global one of the images' device.
            aligned: Whether all views of a row lie pixel on pixel; if not, each is shifted further
                by itself, by up to `relative_shift`.

        Returns:
            Float in [0, 1], (copies · k · n, c, h, w): the first image of all rows, then the
            second …, then other views of the same.
        """
        views = self.shifted(images, generator).repeat(copies, 1, 1, 1)
        if not aligned:
            views = random_shift(views.unsqueeze(1), self.relative_shift, generator).squeeze(1)
        return self.view(views, generator)

    def views_and_pictures(
        self, images: Tensor, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """A view of every image of (n, k, c, h, w) uint8, and the picture that it was made from.

        The picture is what is to be predicted from the view, or from a part of it: shifted as the
        view is, and otherwise as the camera took it.

        Returns:
            Each as `views` orders them, float in [0, 1], (k · n, c, h, w).
        """
        shifted = self.shifted(images, generator)
        return self.view(shifted, generator), to_float(shifted)


def random_shift(images: Tensor, pixels: int, generator: Generator | None = None) -> Tensor:
    """Shift each row's images by the same random number of whole pixels; edges are repeated.

    Args:
        images: (n, k, c, h, w).
        pixels: The shift along either axis is uniform in {−pixels, …, pixels}.
        generator: Draws; by default torch's global one of the images' device.

    Returns:
        Of the shape and type of `images`.
    """
    if pixels == 0:
        return images
    n, _, _, height, width = images.shape
    device = images.device
    rows = torch.arange(-pixels, height + pixels, device=device).clamp_(0, height - 1)
    columns = torch.arange(-pixels, width + pixels, device=device).clamp_(0, width - 1)
    windows = images[:, :, :, rows][..., columns].unfold(3, height, 1).unfold(4, width, 1)
    down, right = torch.randint(0, 2 * pixels + 1, (2, n), generator=generator, device=device)
    return windows[torch.arange(n, device=device), :, :, down, right]


def jitter(
    images: Tensor, brightness: float, contrast: float, generator: Generator | None = None
) -> Tensor:
    """Stretch each image's colours around grey and brighten or darken it, at random.

    x ↦ ½ + (1 + c)(x − ½) + b, clipped to [0, 1]; b and c are uniform up to ± their largest value.

    Args:
        images: (n, c, h, w), uint8 or float in [0, 1].
        brightness: The largest |b|.
        contrast: The largest |c|.
        generator: Draws; by default torch's global one of the images' device.

    Returns:
        A new tensor of float, (n, c, h, w).
    """
    shape = 2, len(images), 1, 1, 1
    draws = torch.rand(shape, generator=generator, device=images.device).mul_(2).sub_(1)
    scale = 1 + contrast * draws[0]
    offset = 0.5 - 0.5 * scale + brightness * draws[1]
    return torch.addcmul(offset, to_float(images), scale).clamp_(0, 1)


def cutout_(images: Tensor, side: int, generator: Generator | None = None) -> Tensor:
    """Paint a rectangle of each image over with one colour, at random, in place.

    Args:
        images: (n, c, h, w) float in [0, 1].
        side: Height and width are uniform in {0, …, side}; the place is uniform where the
            rectangle fits.
        generator: Draws; by default torch's global one of the images' device.

    Returns:
        `images`.
    """
    if side == 0:
        return images
    n, channels, height, width = images.shape
    device = images.device
    side = min(side, height, width)
    sizes = torch.randint(0, side + 1, (2, n), generator=generator, device=device)
    places = torch.rand(2, n, generator=generator, device=device)
    inside = []
    for axis, length in enumerate((height, width)):
        start = (places[axis] * (length - sizes[axis] + 1)).floor().unsqueeze(1)
        grid = torch.arange(length, device=device)
        inside.append((grid >= start) & (grid < start + sizes[axis].unsqueeze(1)))
    hidden = inside[0].unsqueeze(2) & inside[1].unsqueeze(1)
    colours = torch.rand(n, channels, generator=generator, device=device)
    which, row, column = hidden.nonzero(as_tuple=True)
    images[which, :, row, column] = colours[which]
    return images
