"""Augmentations: what changes, what does not, and what the views of a frame share."""

from __future__ import annotations

import pytest
import torch

from lifelong_rl.vision.augment import Augmentation, cutout_, jitter, random_shift


def one_pixel(n: int, k: int = 1, size: int = 16) -> torch.Tensor:
    """Black images with a white pixel in the middle."""
    images = torch.zeros(n, k, 3, size, size, dtype=torch.uint8)
    images[..., size // 2, size // 2] = 255
    return images


def where(images: torch.Tensor) -> torch.Tensor:
    """The brightest place of each (..., h, w)."""
    return images.flatten(-2).argmax(dim=-1)


def test_views_of_a_frame_share_the_shift() -> None:
    shifted = random_shift(one_pixel(200, k=4), 3)
    places = where(shifted).flatten(1)
    assert (places == places[:, :1]).all()
    assert len(places[:, 0].unique()) == 49  # all of ±3 either way, and independent rows
    views = Augmentation(shift=3, cutout=0).views(one_pixel(50, k=1), copies=2)
    one, other = where(views[:, 0]).chunk(2)
    assert torch.equal(one, other) and len(one.unique()) > 10


def test_views_to_be_matched_do_not_lie_pixel_on_pixel() -> None:
    """They share the shift, and each is shifted a little further by itself."""
    augmentation = Augmentation(shift=5, relative_shift=1, cutout=0)
    found = where(augmentation.views(one_pixel(400, k=2, size=32), copies=2, aligned=False)[:, 0])
    down, right = (found // 32 - 16).view(4, 400), (found % 32 - 16).view(4, 400)
    for place in (down, right):
        assert place.abs().max() == 6
        assert (place - place[0]).unique().tolist() == [-2, -1, 0, 1, 2]
    still = Augmentation(shift=5, relative_shift=0, cutout=0)
    found = where(still.views(one_pixel(50, size=32), copies=2, aligned=False)[:, 0])
    assert torch.equal(*found.chunk(2))


def test_a_view_and_its_picture_differ_in_all_but_the_shift() -> None:
    """A rectangle in one place, and no pixel elsewhere; and the picture is shifted."""
    images = torch.randint(256, (60, 2, 3, 32, 32), dtype=torch.uint8)
    augmentation = Augmentation(shift=5, brightness=0, contrast=0, cutout=12)
    views, pictures = augmentation.views_and_pictures(images)
    hidden = (views - pictures).abs().amax(dim=1) > 1e-6
    assert (hidden.flatten(1).sum(dim=1) > 0).sum() > 80
    assert hidden.any(dim=1).sum(dim=1).max() <= 12 and hidden.any(dim=2).sum(dim=1).max() <= 12
    seen = (pictures * 255).round()
    assert (seen != images.transpose(0, 1).flatten(0, 1)).flatten(1).any(dim=1).sum() > 100
    for row in range(60):  # both images of a row are shifted alike
        windows = [window_of(images[row], y, x) for y in range(11) for x in range(11)]
        assert any(torch.equal(seen[row::60], window) for window in windows)


def window_of(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """One of the windows that a shift by up to 5 pixels can show of (k, c, 32, 32)."""
    padded = torch.nn.functional.pad(images.float(), (5,) * 4, mode="replicate")
    return padded[..., down : down + 32, right : right + 32]


def test_shift_repeats_the_edges_and_keeps_the_rest() -> None:
    images = torch.randint(256, (60, 1, 3, 8, 8), dtype=torch.uint8)
    shifted = random_shift(images, 2)
    padded = torch.nn.functional.pad(images[:, 0].float(), (2,) * 4, mode="replicate").byte()
    for image, found in zip(padded, shifted[:, 0], strict=True):
        windows = [image[:, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
        assert any(torch.equal(found, window) for window in windows)
    assert random_shift(images, 0) is images


def test_jitter_is_one_affine_map_of_each_image() -> None:
    images = torch.rand(50, 3, 8, 8) * 0.2 + 0.4  # not clipped by what follows
    changed = jitter(images, brightness=0.1, contrast=0.5)
    assert changed.min() >= 0 and changed.max() <= 1
    scale = changed.flatten(1).std(dim=1) / images.flatten(1).std(dim=1)
    offset = changed.flatten(1).mean(dim=1) - 0.5 - scale * (images.flatten(1).mean(dim=1) - 0.5)
    expected = 0.5 + scale.view(-1, 1, 1, 1) * (images - 0.5) + offset.view(-1, 1, 1, 1)
    torch.testing.assert_close(changed, expected)
    assert 0.5 <= scale.min() < 0.6 and 1.4 < scale.max() <= 1.5
    assert -0.1 <= offset.min() < -0.08 and 0.08 < offset.max() <= 0.1


def test_nothing_to_change() -> None:
    images = torch.randint(256, (5, 1, 3, 8, 8), dtype=torch.uint8)
    still = Augmentation(shift=0, brightness=0, contrast=0, cutout=0)
    torch.testing.assert_close(still.views(images), images[:, 0] / 255)


def test_cutout_is_one_rectangle_of_one_colour() -> None:
    images = torch.full((5000, 3, 16, 16), 2.0)
    cutout_(images, 6)
    hidden = images[:, 0] != 2
    rows, columns = hidden.any(dim=2).sum(dim=1), hidden.any(dim=1).sum(dim=1)
    assert torch.equal(hidden.sum(dim=(1, 2)), rows * columns)
    assert rows.max() == columns.max() == 6
    assert hidden.any(dim=0).all()  # everywhere, edges too
    one = images[hidden.sum(dim=(1, 2)) > 4][0]
    assert len(one[:, one[0] != 2].unique(dim=1).T) == 1


def test_the_generator_decides() -> None:
    images = torch.randint(256, (6, 2, 3, 16, 16), dtype=torch.uint8)
    once, again = (
        Augmentation().views(images, 2, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, Augmentation().views(images, 2, torch.Generator().manual_seed(4)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shift": -1}, "shift must be a whole number of at least 0, not -1"),
        ({"relative_shift": -2}, "relative-shift must be a whole number of at least 0, not -2"),
        ({"contrast": 1.5}, r"contrast must be a number in \[0, 1\), not 1.5"),
    ],
)
def test_strengths_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)
