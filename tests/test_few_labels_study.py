"""The study of few labels: what it measures of runs, and that its page says so."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/analysis"))
from made_runs import make_results, write_run  # noqa: E402

from lifelong_rl.runs.config import RunConfig  # noqa: E402
from lifelong_rl.runs.setup import prepare  # noqa: E402

SCORES = {
    ("replay", "none"): [0.5, 0.6, 0.7],
    ("replay", "fixmatch"): [0.7, 0.9, 0.9],
    ("replay", "pseudo-label"): [0.6, 0.5, 0.8],
    ("finetune", "none"): [0.4, 0.4, 0.5],
    ("joint", "none"): [0.8, 0.8, 1.0],
}


@pytest.fixture(scope="module")
def few_labels() -> Any:
    spec = importlib.util.spec_from_file_location("few_labels", ROOT / "scripts/few_labels.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for (method, objective), scores in SCORES.items():
        for seed, score in enumerate(scores):
            config = prepare(
                RunConfig(
                    sequence="split-digits",
                    agent="semi-supervised",
                    agent_options={"objective": objective},
                    method=method,
                    labels=0.01,
                )
            ).config
            results = make_results(
                np.full((6, 5), score),
                tasks=[f"digits-{k}-{k + 1}" for k in range(0, 10, 2)],
                sequence="split-digits",
                agent="semi-supervised",
                agent_options=dict(config.agent_options),
                method=method,
                method_options=dict(config.method_options),
                seed=seed,
                labels=0.01,
            )
            write_run(folder / f"{method}-{objective}-{seed}", results)
    return folder


def test_objectives_are_set_against_none_seed_by_seed(few_labels, runs, tmp_path, capsys):
    out, page = tmp_path / "few.json", tmp_path / "few.md"
    assert few_labels.main([str(runs), "--json", str(out), "--page", str(page)]) == 0
    found = json.loads(out.read_text())
    rows = {(row["method"], row["objective"]): row for row in found["rows"]}
    assert {key: row["each_run"] for key, row in rows.items()} == SCORES
    one = rows["replay", "fixmatch"]["difference"]
    paired = stats.ttest_1samp([0.2, 0.3, 0.2], 0.0).confidence_interval(0.95)
    assert one["mean"] == pytest.approx(0.7 / 3)
    assert (one["low"], one["high"]) == pytest.approx((paired.low, paired.high))
    assert rows["replay", "none"]["difference"] is None
    text = page.read_text()
    assert "| `fixmatch` | replay on split-digits, 1 % labels | – | – |" in text
    assert "| `pseudo-label` | – | – | replay on split-digits, 1 % labels |" in text
    assert "(`finetune`):\n+0.43, +0.29 to +0.58 with `none`." in text
    assert (tmp_path / "few/split-digits-0.01.png").exists()
    assert "fixmatch" in capsys.readouterr().out
    assert few_labels.main(["--json", str(out), "--page", str(tmp_path / "again.md")]) == 0
    assert (tmp_path / "again.md").read_text() == text.replace("few/", "again/")


def test_rows_of_a_digit_are_near_each_other(few_labels, monkeypatch):
    assert few_labels.measure_neighbours("split-digits") > 0.99


def test_neighbours_are_of_other_episodes(few_labels, monkeypatch):
    class Env:
        def labelled_data(self) -> Any:
            return {
                "observations": np.array([[0.0], [0.1], [1.0], [1.2]]),
                "labels": np.arange(4) % 2,
            }

        def unlabelled_data(self) -> Any:
            return {"episodes": np.array([0, 0, 1, 1])}

    class Stream:
        num_tasks = 1

        def make_env(self, task: int, num_envs: int) -> Env:
            return Env()

    class Setup:
        sequence = Stream()

    monkeypatch.setattr(few_labels, "prepare", lambda config: Setup())
    # of the other episode, 2 (class 0) is nearest to 0 and 1, and 1 (class 1) to 2 and 3
    assert few_labels.measure_neighbours("any") == 0.5
