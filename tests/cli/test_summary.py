"""What is printed at the end fits a screen of 80 by 24, and names what to do next."""

from pathlib import Path

import numpy as np
import pytest

from lifelong_rl.cli.summary import print_summary
from lifelong_rl.metrics.matrix import Curve, compute_metrics
from lifelong_rl.runs.config import RunConfig
from lifelong_rl.runs.run_folder import RunFolder

FOLDER = RunFolder(Path("runs/demo"), RunConfig())


def results_of(matrix):
    count = len(matrix[0])
    curves = [Curve([0, 1], [0.0, 1.0])] * count
    return {
        "tasks": [f"window-slide-{j}" for j in range(count)],
        "performance_matrix": matrix,
        "metrics": compute_metrics(matrix, curves),
        "cost": {"seconds": 80.0 * count, "seconds_per_task": [{"learn": 72.0}] * count},
        "diverged": {"training": 0, "evaluation": 0},
    }


@pytest.mark.parametrize("count", [1, 3, 8, 9, 20])
def test_it_fits_a_screen(capsys, count):
    matrix = np.tril(np.full((count + 1, count), 0.5), -1).tolist()
    print_summary(results_of(matrix), FOLDER, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert "report:    lifelong-rl report runs/demo" in lines


def test_of_many_tasks_it_shows_those_of_which_most_was_forgotten(capsys):
    count = 10
    matrix = np.tril(np.ones((count + 1, count)), -1)
    matrix[-1] = 1.0 - np.array([0, 9, 1, 8, 2, 7, 3, 6, 4, 0]) / 10
    print_summary(results_of(matrix.tolist()), FOLDER, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if "window-slide" in line]
    assert [row[0] for row in rows] == ["2", "3", "4", "5", "6", "7", "8", "9"]
    assert rows[0] == ["2", "window-slide-1", "0.00", "1.00", "0.10"]


FROZEN = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.04, 0.0], [1.0, 0.02, 0.0]]
"""What a method leaves that lets nothing be learned after the first task."""


def test_when_little_was_learned_it_says_so_first(capsys):
    print_summary(results_of(FROZEN), FOLDER, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    after_matrix = lines.index("3 window-slide-2    0.00  0.00  0.00  0.00") + 2
    assert lines[after_matrix] == "learned performance   0.347  1 of 3 tasks learned to 0.5 or more"
    (retention,) = (line for line in lines if line.startswith("retention "))
    assert retention == "retention             0.750  of the 2 earlier tasks with any success"
    assert "time                 4 min 00 s  10% of it evaluation" in lines
    print_summary(results_of(FROZEN), FOLDER, quiet=True)
    assert capsys.readouterr().out.startswith("runs/demo: learned 1 of 3 tasks  average_perf")


def test_when_all_was_learned_nothing_is_added(capsys):
    learned = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]
    print_summary(results_of(learned), FOLDER, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert "average performance   0.750" in lines and "retention             1.000" in lines
    print_summary(results_of(learned), FOLDER, quiet=True)
    assert capsys.readouterr().out.startswith("runs/demo: average_performance 0.750  ")


@pytest.mark.parametrize("count", [1, 3, 8, 9, 20])
def test_what_it_adds_fits_too(capsys, count):
    print_summary(results_of(np.zeros((count + 1, count)).tolist()), FOLDER, quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 80


def test_the_matrix_says_all_that_is_measured(capsys):
    for measures in (["return", "success", "success"], ["score"] * 3):
        print_summary({**results_of(FROZEN), "measures": measures}, FOLDER, quiet=False)
    told = capsys.readouterr().out
    assert "return or success of each task" in told and "\nscore of each task" in told
