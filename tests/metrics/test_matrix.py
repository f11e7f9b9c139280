"""Every metric against values computed by hand."""

import numpy as np
import pytest

from lifelong_rl.metrics import matrix as metrics
from lifelong_rl.metrics.matrix import Curve

R = [
    [0.10, 0.85, 0.20],
    [0.90, 0.10, 0.30],
    [0.95, 0.80, 0.40],
    [0.30, 0.60, 1.00],
]


def test_average_performance():
    assert metrics.average_performance(R) == pytest.approx((0.30 + 0.60 + 1.00) / 3)


def test_learned_performance():
    assert metrics.learned_performance(R) == pytest.approx((0.90 + 0.80 + 1.00) / 3)


def test_backward_transfer_leaves_out_the_last_task():
    assert metrics.backward_transfer(R) == pytest.approx((-0.60 - 0.20) / 2)


def test_forward_transfer_compares_with_the_untrained_agent():
    assert metrics.forward_transfer(R) == pytest.approx(((0.10 - 0.85) + (0.40 - 0.20)) / 2)


def test_forgetting_counts_the_last_task():
    assert metrics.forgetting(R) == pytest.approx((0.60 + 0.20 + 0.0) / 3)


def test_chaudhry_forgetting_takes_the_best_row_but_not_the_untrained_one():
    assert metrics.forgetting_chaudhry(R) == pytest.approx(((0.95 - 0.30) + (0.80 - 0.60)) / 2)


def test_retention():
    assert metrics.retention_per_task(R) == pytest.approx([1 / 3, 0.75, 1.0])
    assert metrics.retention(R) == pytest.approx((1 / 3 + 0.75) / 2)


def test_retention_of_a_task_that_was_never_learned_is_undefined():
    matrix = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.4, 0.2, 0.9]]
    assert metrics.retention_per_task(matrix) == [None, pytest.approx(0.4), 1.0]
    assert metrics.retention(matrix) == pytest.approx(0.4)


def test_plasticity():
    assert metrics.plasticity(R, [1.0, 0.9, 0.9]) == pytest.approx((-0.1 - 0.1 + 0.1) / 3)


def test_area_weighs_points_by_their_distance_in_steps():
    curve = Curve([0, 2, 10], [0.0, 0.5, 1.0])
    assert curve.area == pytest.approx((2 * 0.25 + 8 * 0.75) / 10)


def test_forward_transfer_auc_is_normalised_before_it_is_averaged():
    half, full = Curve([0, 10], [0.0, 1.0]), Curve([0, 10], [1.0, 1.0])
    quarter = Curve([0, 10], [0.0, 0.5])
    found = metrics.forward_transfer_auc([half, quarter], [quarter, half])
    assert found == pytest.approx(((0.5 - 0.25) / 0.75 + (0.25 - 0.5) / 0.5) / 2)
    assert metrics.forward_transfer_auc([half, half], [quarter, full]) == pytest.approx(1 / 3)
    assert metrics.forward_transfer_auc([half], [full]) is None


def test_one_task_has_no_transfer():
    alone = [[0.1], [0.8]]
    found = metrics.compute_metrics(alone, [Curve([0, 5], [0.1, 0.8])])
    assert found == {
        "average_performance": 0.8,
        "learned_performance": 0.8,
        "forgetting": 0.0,
        "forgetting_chaudhry": None,
        "backward_transfer": None,
        "forward_transfer": None,
        "forward_transfer_auc": None,
        "retention": None,
        "retention_per_task": [1.0],
        "plasticity": None,
    }


def test_compute_metrics_agrees_with_each_function():
    curves = [Curve([0, 4], [row, row + 0.1]) for row in (0.1, 0.2, 0.3)]
    reference = [Curve([0, 4], [0.0, value]) for value in (1.0, 0.9, 0.9)]
    found = metrics.compute_metrics(np.array(R), curves, reference)
    for name in set(found) - {"forward_transfer_auc", "plasticity"}:
        assert found[name] == getattr(metrics, name)(R)
    assert found["plasticity"] == metrics.plasticity(R, [1.0, 0.9, 0.9])
    assert found["forward_transfer_auc"] == metrics.forward_transfer_auc(curves, reference)


@pytest.mark.parametrize("shape", [(3, 3), (2, 2), (1, 0), (4,)])
def test_a_matrix_of_the_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"\(T \+ 1, T\)"):
        metrics.average_performance(np.zeros(shape))


# A stream: reach, then push, then reach again, then both at once with a third task.
PHASES = [(0,), (1,), (0,), (1, 2)]
STREAM = [
    [0.1, 0.0, 0.2],
    [0.9, 0.1, 0.2],
    [0.5, 0.8, 0.3],
    [1.0, 0.4, 0.1],
    [0.6, 0.7, 0.5],
]


def test_a_stream_is_measured_where_its_tasks_were_learned():
    found = metrics.compute_metrics(STREAM, [], phases=PHASES)
    assert found["average_performance"] == pytest.approx((0.6 + 0.7 + 0.5) / 3)
    assert found["learned_performance"] == pytest.approx((1.0 + 0.7 + 0.5) / 3)
    assert found["forgetting"] == pytest.approx(0.4 / 3)
    assert found["backward_transfer"] == pytest.approx(-0.4)
    assert found["forward_transfer"] == pytest.approx(((0.1 - 0.0) + (0.1 - 0.2)) / 2)
    assert found["forgetting_chaudhry"] == pytest.approx(1.0 - 0.6)
    assert found["retention"] == pytest.approx(0.6)
    assert metrics.count_kept(STREAM, PHASES) == 1
    assert metrics.count_learned(STREAM, PHASES) == 3
    assert metrics.plasticity(STREAM, [1.0, 1.0, 1.0], PHASES) == pytest.approx(
        ((0.9 - 1) + (0.8 - 1) + (0.5 - 1)) / 3
    )


def test_transfer_takes_the_curve_of_a_task_s_first_phase():
    curves = [Curve([0, 10], [0.0, high]) for high in (0.9, 0.8, 1.0, 0.5)]
    alone = [Curve([0, 10], [0.0, 1.0])] * 3
    found = metrics.compute_metrics(STREAM, curves, alone, PHASES)
    areas = [0.45, 0.4, 0.25]
    expected = sum((area - 0.5) / 0.5 for area in areas) / 3
    assert found["forward_transfer_auc"] == pytest.approx(expected)


def test_phases_one_after_another_are_the_plain_sequence():
    curves = [Curve([0, 10], [0.0, 0.5])] * 3
    plain = metrics.compute_metrics(R, curves, curves)
    assert metrics.compute_metrics(R, curves, curves, [(0,), (1,), (2,)]) == plain


def test_what_needs_success_is_not_defined_for_returns():
    curves = [Curve([0, 10], [-100.0, 50.0])] * 2
    found = metrics.compute_metrics(
        [[-100, -90], [50, -80], [20, 70]], curves, curves, bounded=False
    )
    assert found["forgetting"] == pytest.approx(15.0)
    assert found["retention"] is None and found["forward_transfer_auc"] is None
    assert found["retention_per_task"] == [None, None]


@pytest.mark.parametrize("phases", [[(0,), ()], [(0,), (3,)], [(0,), (0,)]])
def test_phases_have_to_learn_every_task_and_no_other(phases):
    with pytest.raises(ValueError, match=r"phase 2 learns|is never learned"):
        metrics.forgetting(np.zeros((3, 2)), phases)
