"""Streams of which few rows are labelled."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_rl.analysis.groups import group_runs, note_mixtures, tell_apart
from lifelong_rl.analysis.runs import read_run
from lifelong_rl.cli import main
from lifelong_rl.envs.few_labels import Labels
from lifelong_rl.envs.labelled import PERMUTED_DIGITS, SPLIT_DIGITS
from lifelong_rl.errors import UserError

SMALL = [
    *("--steps-per-task", "8", "--eval-episodes", "8", "--eval-points", "1"),
    *("--quiet", "--no-diagnostics"),
]


def labelled_rows(sequence: Any, task_id: int) -> set[bytes]:
    found = sequence.make_env(task_id, num_envs=1).labelled_data()
    return {row.tobytes() for row in found["observations"][:, :64]}


@pytest.mark.parametrize(
    ("amount", "each"), [(0.01, 1), (0.1, 14), (0.5, 72), (1, 1), (3, 3), (10_000, None)]
)
def test_each_class_has_equally_many_labels_and_at_least_one(
    amount: float, each: int | None
) -> None:
    whole = SPLIT_DIGITS.make_env(0, num_envs=1).labelled_data()
    few = SPLIT_DIGITS.with_labels(amount, seed=3).make_env(0, num_envs=1)
    counts = np.bincount(few.labelled_data()["labels"])
    assert counts.tolist() == ([each] * 2 if each else np.bincount(whole["labels"]).tolist())
    # the rows are those of the whole, with their own labels, and all of them lie there unlabelled
    place = {row.tobytes(): k for k, row in enumerate(whole["observations"])}
    for row, label in zip(*few.labelled_data().values(), strict=True):
        assert whole["labels"][place[row.tobytes()]] == label
    assert list(few.unlabelled_data()) == ["observations"]
    np.testing.assert_array_equal(few.unlabelled_data()["observations"], whole["observations"])
    # and what is evaluated is the same
    np.testing.assert_array_equal(few.reset(), SPLIT_DIGITS.make_env(0, num_envs=1).reset())


def test_which_rows_are_labelled_depends_on_seed_and_problem_alone() -> None:
    few = SPLIT_DIGITS.with_labels(0.1, seed=3)
    assert labelled_rows(few, 1) == labelled_rows(SPLIT_DIGITS.with_labels(0.1, seed=3), 1)
    assert labelled_rows(few, 1) != labelled_rows(SPLIT_DIGITS.with_labels(0.1, seed=4), 1)
    turned = few.reordered(1)
    assert turned.tasks != few.tasks
    for task_id, name in enumerate(turned.tasks):
        assert labelled_rows(turned, task_id) == labelled_rows(few, few.tasks.index(name))
    # other rows in every task, though all of permuted-digits have the same pictures
    chosen = [Labels(0.05, 0).draw(np.arange(100) % 2, name) for name in PERMUTED_DIGITS.tasks]
    assert len({mask.tobytes() for mask in chosen}) == 10


def test_fewer_labels_are_some_of_the_more() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 200)
    masks = [Labels(amount, 7).draw(labels, "task") for amount in (1, 0.05, 0.2, 40)]
    for fewer, more in pairwise(masks):
        assert not (fewer & ~more).any() and fewer.sum() < more.sum()


def test_rows_to_regress_are_drawn_as_of_one_class() -> None:
    mask = Labels(0.1, 7).draw(np.random.default_rng(0).normal(size=(50, 3)), "task")
    assert mask.shape == (50,) and mask.sum() == 5


def test_all_tasks_together_have_the_labels_of_each() -> None:
    few = SPLIT_DIGITS.with_labels(2, seed=3)
    joint = few.make_joint_env(num_envs=1)
    alone = [few.make_env(k, num_envs=1).labelled_data() for k in range(5)]
    for name in ("observations", "labels"):
        np.testing.assert_array_equal(
            joint.labelled_data()[name], np.concatenate([each[name] for each in alone])
        )
    assert len(joint.unlabelled_data()["observations"]) == 1437


def run(path: Path, *words: str, agent: str = "classifier") -> dict[str, Any]:
    arguments = ["--sequence", "split-digits", "--agent", agent, *words, "--run-dir", str(path)]
    assert main(["run", *SMALL, *arguments]) == 0
    found: dict[str, Any] = json.loads((path / "results.json").read_text())
    return found


def test_a_run_tells_its_labels_and_is_kept_apart_by_them(tmp_path: Path) -> None:
    found = [
        run(tmp_path / name, *words)
        for name, words in (
            ("all", ()),
            ("few", ("--labels", "0.01")),
            ("one", ("--labels", "1")),
            ("again", ("--labels", "0.01")),
        )
    ]
    assert [each.get("labels") for each in found] == [None, 0.01, 1, 0.01]
    same = "performance_matrix", "return_matrix"
    assert all(found[1][name] == found[3][name] for name in same)
    assert "labels: 0.01" in (tmp_path / "few" / "config.yaml").read_text()
    runs = [read_run(tmp_path / name) for name in ("all", "few", "one")]
    assert [each.budget["labels"] for each in runs] == ["all", 0.01, 1]
    sections = group_runs(runs)
    assert len(sections) == 3
    assert sorted(tell_apart(sections)) == ["labels 0.01", "labels 1", "labels all"]
    assert any("labels all and 0.01" in line for line in note_mixtures(sections))
    assert len(group_runs(runs, mix=["budget"])) == 1


def test_labels_of_results_that_nobody_can_have_had_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "run", "--labels", "2")
    path = tmp_path / "run" / "results.json"
    whole = json.loads(path.read_text())
    for wrong in (0, 1.5, "few", True):
        path.write_text(json.dumps({**whole, "labels": wrong}))
        with pytest.raises(UserError, match="labels of"):
            read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--sequence", "arm3", "--labels", "0.1"], "'arm3' has no labels; leave out --labels"),
        (["--labels", "1.0"], "labels must be a number in (0, 1) or a whole number of at least 1"),
        (["--labels", "0"], "not 0"),
        (["--labels", "-0.5"], "not -0.5"),
        (["--labels", "few"], "not 'few'"),
    ],
)
def test_labels_that_cannot_be_are_refused_in_one_line(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words if "--sequence" in words else ["--sequence", "split-digits", *words]
    agent = [] if "arm3" in words else ["--agent", "classifier"]
    assert main(["run", *given, *agent, "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
