"""A film of many clips at once: a table of them, with names at the left and on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from lifelong_rl.storage.clip import Picture

PAPER, INK, LINE = (255, 255, 255), (34, 34, 34), (190, 190, 190)
SOLVED = (0, 158, 115)
"""Of the frame: Okabe and Ito's green, which colour-blind people can tell from the line's grey."""
FRAME = 5
"""Width of the frame, in pixels; what is not solved has a line of one pixel."""
GAP = 4
"""Between frames, and around text."""
FONT, LEAST_FONT = 15, 9
"""Height of the text, in pixels; it is made smaller where there is no room."""
FADED = 0.6
"""How much of a faded picture is paper."""


@dataclass(frozen=True)
class Cell:
    """A clip in the table.

    Attributes:
        pictures: In turn; the last one stays.
        hertz: Pictures in a second.
        solved_at: The picture from which on it is framed; None for never.
        faded: Whether it is shown in pale colours.
    """

    pictures: Sequence[Picture]
    hertz: int
    solved_at: int | None
    faded: bool = False


def make_film(
    cells: Sequence[Sequence[Cell]],
    rows: Sequence[str],
    columns: Sequence[str],
    notes: Sequence[str],
    size: tuple[int, int],
) -> tuple[list[Picture], int]:
    """Put clips into a table.

    Args:
        cells: By row and column, at least one.
        rows: Names of the rows, at the left.
        columns: Names of the columns, on top.
        notes: Lines of text below.
        size: Width and height of a clip's picture in the table.

    Returns:
        The pictures of the film, each of even width and height, and how many are shown in a second.
    """
    width, height = (side + 2 * FRAME + GAP for side in size)
    left = max(round(_length(name, FONT)) for name in rows) + 3 * GAP
    top = line = FONT + 2 * GAP
    whole = left + len(columns) * width, top + len(rows) * height + len(notes) * line
    page = Image.new("RGB", (whole[0] + whole[0] % 2, whole[1] + whole[1] % 2), PAPER)
    draw = ImageDraw.Draw(page)
    for j, name in enumerate(columns):
        _write(draw, (left + (j + 0.5) * width, top / 2), name, "mm", width - GAP)
    for i, name in enumerate(rows):
        _write(draw, (left - 2 * GAP, top + (i + 0.5) * height), name, "rm", left)
    for k, note in enumerate(notes):
        place = GAP, whole[1] - (len(notes) - k - 0.5) * line
        _write(draw, place, note, "lm", whole[0] - 2 * GAP)
    every = [cell for row in cells for cell in row]
    fps = max(cell.hertz for cell in every)
    seconds = max((len(cell.pictures) - 1) / cell.hertz for cell in every)
    film = []
    for moment in range(round(seconds * fps) + 1):
        picture = page.copy()
        for i, row in enumerate(cells):
            for j, cell in enumerate(row):
                shown = min(moment * cell.hertz // fps, len(cell.pictures) - 1)
                place = left + j * width + GAP // 2, top + i * height + GAP // 2
                picture.paste(_draw_cell(cell, shown, size), place)
        film.append(np.asarray(picture))
    return film, fps


def _draw_cell(cell: Cell, shown: int, size: tuple[int, int]) -> Image.Image:
    """One picture of a clip in its frame."""
    picture = Image.fromarray(cell.pictures[shown])
    if picture.size != size:
        picture = ImageOps.pad(picture, size, color=PAPER)
    if cell.faded:
        picture = Image.blend(picture, Image.new("RGB", size, PAPER), FADED)
    solved = cell.solved_at is not None and shown >= cell.solved_at
    framed = ImageOps.expand(picture, 0 if solved else 1, LINE)
    return ImageOps.expand(framed, FRAME if solved else FRAME - 1, SOLVED if solved else PAPER)


def _length(text: str, font: int) -> float:
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    return draw.textlength(text, font_size=font)


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, anchor: str, room: float
) -> None:
    """Write a line into so much room: small where it is long, cut off where it is too long."""
    font = next((f for f in range(FONT, LEAST_FONT, -1) if _length(text, f) <= room), LEAST_FONT)
    whole = text
    while _length(text, font) > room and whole:
        whole = whole[:-1]
        text = f"{whole}…"
    draw.text(place, text, fill=INK, font_size=font, anchor=anchor)
