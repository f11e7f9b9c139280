"""Success over the sequence is put together of the matrix and the curves, and pictured."""

import numpy as np

from lifelong_rl.metrics.curves import success_over_sequence
from lifelong_rl.metrics.matrix import Curve
from lifelong_rl.runs.run_pictures import CELL, VIRIDIS, picture_matrix, picture_success

MATRIX = [[0.0, 0.1], [1.0, 0.2], [0.5, 0.9]]
CURVES = [Curve([0, 5, 10], [0.0, 0.7, 1.0]), Curve([0, 4, 10], [0.2, 0.3, 0.9])]


def test_a_curve_has_the_rows_and_its_own_points():
    first, second = success_over_sequence(MATRIX, CURVES, [0, 10, 20])
    assert first == Curve((0, 5, 10, 20), (0.0, 0.7, 1.0, 0.5))
    assert second == Curve((0, 10, 14, 20), (0.1, 0.2, 0.3, 0.9))


def test_tasks_not_yet_begun_have_only_rows():
    first, second = success_over_sequence(MATRIX[:2], CURVES[:1], [0, 10, 20])
    assert first == Curve((0, 5, 10), (0.0, 0.7, 1.0))
    assert second == Curve((0, 10), (0.1, 0.2))
    assert success_over_sequence(MATRIX[:1], [], [0, 10, 20]) == [
        Curve((0,), (0.0,)),
        Curve((0,), (0.1,)),
    ]


def test_the_matrix_has_the_colour_of_its_numbers():
    picture = picture_matrix([[0.0, 0.0], [1.0, 0.5]], ["left", "right"])
    width, height = CELL
    corners = picture[height + 1 :: height, -3 * width + 1 :: width]  # of the cells' rows
    assert corners.shape == (2, 3, 3)
    assert [tuple(colour) for colour in corners[0]] == [VIRIDIS[0], VIRIDIS[4], (255, 255, 255)]
    assert tuple(corners[1, 1]) == VIRIDIS[2]


def test_the_curves_are_pictured_with_the_colours_of_the_tasks():
    picture = picture_success(
        success_over_sequence(MATRIX, CURVES, [0, 10, 20]), ["left", "right"], [0, 10, 20]
    )
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    for share in (0.0, 0.9):
        at = np.linspace(0.0, 1.0, 5)
        colour = [round(np.interp(share, at, channel)) for channel in zip(*VIRIDIS, strict=True)]
        assert (picture == colour).all(axis=-1).sum() > 100


def test_a_task_that_is_learned_again_has_the_curves_of_both_phases():
    matrix = [[0.0, 0.1], [1.0, 0.2], [0.5, 0.9], [0.8, 0.4], [0.7, 0.6]]
    curves = [*CURVES, Curve([0, 6], [0.5, 0.8]), Curve([0, 2], [0.6, 0.65])]
    phases = [(0,), (1,), (0,), (0, 1)]
    first, second = success_over_sequence(matrix, curves, [0, 10, 20, 26, 28], phases)
    assert first == Curve((0, 5, 10, 20, 26, 28), (0.0, 0.7, 1.0, 0.5, 0.8, 0.7))
    assert second == Curve((0, 10, 14, 20, 26, 28), (0.1, 0.2, 0.3, 0.9, 0.4, 0.6))
