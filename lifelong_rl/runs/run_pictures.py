"""Pictures of a run for TensorBoard, drawn in milliseconds so that no run waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from lifelong_rl.metrics.matrix import Curve, Matrix
from lifelong_rl.text import format_score

Picture = npt.NDArray[np.uint8]
"""(height, width, 3)."""
Colour = tuple[int, int, int]

VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Colours of 0, 1/4, 1/2, 3/4 and 1."""
INK, SOFT, PAPER = (34, 34, 34), (170, 170, 170), (255, 255, 255)
FONT = 14
"""Height of the text, in pixels; everything else follows from it."""
CELL = 3 * FONT, 2 * FONT
"""Width and height of a cell of the matrix."""
PLOT = 24 * FONT, 13 * FONT
"""Width and height of the curves."""
FINE = 2
"""Lines are drawn so many times as large, and then made small, which smooths them."""


def picture_matrix(
    matrix: Matrix,
    tasks: Sequence[str],
    count: int | None = None,
    lowest: float = 0.0,
    highest: float = 1.0,
) -> Picture:
    """Picture success on each task (row) before learning, and after each phase (column).

    Args:
        matrix: Rows of the performance matrix so far; those to come stay empty.
        tasks: Names of the tasks, (T,).
        count: Number of phases; by default that of the tasks.
        lowest: Value of the darkest colour.
        highest: Value of the brightest.
    """
    count = len(tasks) if count is None else count
    width, height = CELL
    names = [f"{j + 1} {task}" for j, task in enumerate(tasks)]
    left = _text_width(names) + FONT
    image = Image.new("RGB", (left + (count + 1) * width, (len(tasks) + 1) * height), PAPER)
    draw = ImageDraw.Draw(image)
    for i in range(count + 1):
        head = "before" if i == 0 else str(i)
        _write(draw, left + (i + 0.5) * width, 0.5 * height, head, INK, "mm", FONT * 3 // 4)
    for j, name in enumerate(names):
        top = (j + 1) * height
        _write(draw, left - FONT / 2, top + height / 2, name, INK, "rm")
        for i, row in enumerate(matrix):
            x, success = left + i * width, float(row[j])
            share = (success - lowest) / (highest - lowest)
            draw.rectangle((x, top, x + width - 2, top + height - 2), fill=_shade(share))
            ink = INK if share > 0.6 else PAPER
            _write(draw, x + width / 2, top + height / 2, format_score(success), ink, "mm")
    return np.asarray(image)


def picture_success(
    curves: Sequence[Curve],
    tasks: Sequence[str],
    starts: Sequence[float],
    lowest: float = 0.0,
    highest: float = 1.0,
) -> Picture:
    """Picture success on each task over the whole sequence, a line where the phase changes.

    Args:
        curves: See `success_over_sequence`.
        tasks: Names of the tasks, (T,).
        starts: Steps of the sequence at which the phases begin, and at which the last one ends.
        lowest: Value at the bottom.
        highest: Value at the top.
    """
    names = [f"{j + 1} {task}" for j, task in enumerate(tasks)]
    colours = [_shade(0.9 * j / max(len(tasks) - 1, 1)) for j in range(len(tasks))]
    (width, height), margin = PLOT, 3 * FONT
    total = margin + width + 2 * FONT + _text_width(names)
    size = (total, max(height + 3 * FONT, (len(tasks) + 2) * 3 * FONT // 2))

    def place(step: float, success: float) -> tuple[float, float]:
        x = margin + width * step / starts[-1]
        return FINE * x, FINE * (FONT + height * (highest - success) / (highest - lowest))

    large = Image.new("RGB", (FINE * size[0], FINE * size[1]), PAPER)
    lines = ImageDraw.Draw(large)
    for start in starts:
        lines.line([place(start, y) for y in (lowest, highest)], fill=SOFT, width=FINE)
    levels = (lowest, (lowest + highest) / 2, highest)
    for level in levels:
        lines.line([place(x, level) for x in (0, starts[-1])], fill=SOFT, width=FINE)
    for curve, colour in zip(curves, colours, strict=True):
        points = [place(*point) for point in zip(curve.steps, curve.success, strict=True)]
        lines.line(points, fill=colour, width=2 * FINE, joint="curve")
        for x, y in points:
            lines.circle((x, y), 2 * FINE, fill=colour)
    image = large.resize(size, Image.Resampling.BOX)
    draw = ImageDraw.Draw(image)
    for share, level in zip((1.0, 0.5, 0.0), levels, strict=True):
        text = f"{level:.1f}" if abs(level) < 100 else f"{level:.0f}"
        _write(draw, margin - FONT / 2, FONT + height * share, text, INK, "rm")
    for k, (start, end) in enumerate(pairwise(starts), 1):
        centre = margin + width * (start + end) / 2 / starts[-1]
        _write(draw, centre, height + 2 * FONT, str(k), INK, "mm")
    for j, (name, colour) in enumerate(zip(names, colours, strict=True)):
        _write(draw, margin + width + FONT, (j + 1) * 3 * FONT // 2, name, colour, "lm")
    return np.asarray(image)


def _write(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    text: str,
    colour: Colour,
    anchor: str,
    size: int = FONT,
) -> None:
    draw.text((x, y), text, fill=colour, anchor=anchor, font_size=size)


def _text_width(lines: Sequence[str]) -> int:
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    return int(max(draw.textlength(line, font_size=FONT) for line in lines)) + 1


def _shade(value: float) -> Colour:
    at = np.linspace(0.0, 1.0, len(VIRIDIS))
    red, green, blue = (
        round(np.interp(value, at, channel)) for channel in zip(*VIRIDIS, strict=True)
    )
    return red, green, blue
