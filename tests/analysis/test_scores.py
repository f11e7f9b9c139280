"""Scores of each task against values computed by hand, and their means against the metrics."""

import numpy as np
import pytest
from made_runs import make_results, write_run

from lifelong_rl.analysis.runs import find_runs
from lifelong_rl.analysis.scores import decay, score_runs
from lifelong_rl.metrics.matrix import compute_metrics

MATRICES = [
    [[0.1, 0.8, 0.2], [0.9, 0.1, 0.3], [0.9, 0.8, 0.4], [0.3, 0.6, 1.0]],
    [[0.0, 0.0, 0.0], [0.5, 0.2, 0.0], [0.5, 0.4, 0.2], [0.6, 0.1, 0.8]],
]


def make(folder, matrices=MATRICES, **facts):
    for seed, matrix in enumerate(matrices):
        write_run(folder / f"{seed}", make_results(matrix, seed=seed, **facts))
    return find_runs([folder])[0]


@pytest.fixture
def runs(tmp_path):
    return make(tmp_path / "runs", ratios=[1.0, 2.0, None])


def test_scores_of_each_task(runs):
    found = {
        name: {task: list(values) for task, values in by_task.items()}
        for name, by_task in score_runs(runs).items()
    }
    expected = {
        "learned_performance": [[0.9, 0.5], [0.8, 0.4], [1.0, 0.8]],
        "average_performance": [[0.3, 0.6], [0.6, 0.1], [1.0, 0.8]],
        "forgetting": [[0.6, -0.1], [0.2, 0.3], [0.0, 0.0]],
        "retention": [[1 / 3, 1.2], [0.75, 0.25]],
        "forward_transfer": [[0.1 - 0.8, 0.2], [0.4 - 0.2, 0.2]],
        "learn_seconds": [[10.0, 10.0], [11.0, 11.0], [12.0, 12.0]],
        "update_ratio": [[1.0, 1.0], [2.0, 2.0], [np.nan, np.nan]],
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(list(found[name].values()), values, err_msg=name)
    assert list(found["retention"]) == ["reach", "drawer-open"]
    assert list(found["forward_transfer"]) == ["drawer-open", "button-press"]


def test_means_over_tasks_are_the_metrics_of_the_runs(runs, tmp_path):
    reference = make(tmp_path / "alone", [MATRICES[0]] * 2, method="single-task")
    curves = reference[0].curves
    scores = score_runs(runs, reference)
    metrics = [compute_metrics(run.matrix, run.curves, curves) for run in runs]
    for name in (
        "learned_performance",
        "average_performance",
        "forgetting",
        "retention",
        "forward_transfer",
        "forward_transfer_auc",
        "plasticity",
    ):
        per_run = np.mean(list(scores[name].values()), axis=0)
        np.testing.assert_allclose(per_run, [m[name] for m in metrics], err_msg=name)


def test_retention_of_what_was_never_learned_is_undefined(tmp_path):
    never = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.4, 0.2, 0.9]]
    retention = score_runs(make(tmp_path, [never]))["retention"]
    assert np.isnan(retention["reach"]).all() and retention["drawer-open"] == pytest.approx(0.4)


def test_a_task_that_is_known_before_it_is_learned_alone_gives_no_transfer(tmp_path):
    curves = [[1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    reference = make(tmp_path / "alone", curves=curves)
    transfer = score_runs(make(tmp_path / "runs"), reference)["forward_transfer_auc"]
    assert np.isnan(transfer["reach"]).all() and np.isfinite(transfer["button-press"]).all()


def test_transfer_is_relative_to_the_mean_area_of_the_tasks_learned_alone(tmp_path):
    for seed, curve in enumerate(([0.0, 0.4, 1.0], [0.2, 0.8])):
        results = make_results(MATRICES[0], seed=seed, curves=[curve] * 3)
        write_run(tmp_path / f"{seed}", results)
    runs = find_runs([tmp_path])[0]
    own, alone = np.array([0.45, 0.5]), 0.475
    found = score_runs(runs, runs)["forward_transfer_auc"]["reach"]
    np.testing.assert_allclose(found, (own - alone) / (1 - alone))


def test_decay_follows_each_task_from_when_it_was_learned(runs):
    found = decay(runs)
    np.testing.assert_allclose(found["reach"], [0.7, 0.7, 0.45])
    np.testing.assert_allclose(found["drawer-open"], [0.6, 0.35])
    np.testing.assert_allclose(found["button-press"], [0.9])


def test_one_task_alone(tmp_path):
    write_run(tmp_path / "run", make_results([[0.0], [0.8]], tasks=("reach",)))
    scores = score_runs(find_runs([tmp_path])[0])
    assert scores["retention"] == scores["forward_transfer"] == {}
    assert scores["forgetting"]["reach"] == 0.0
