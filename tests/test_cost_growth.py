"""The page of costs: how growth is told, and that the page holds what was measured."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lifelong_rl.continual import METHODS

ROOT = Path(__file__).parents[1]
DATA, PAGE = ROOT / "docs/results/cost_growth.json", ROOT / "docs/cost.md"
TASKS = range(20, 101)


@pytest.fixture(scope="module")
def cost_growth() -> Any:
    spec = importlib.util.spec_from_file_location("cost_growth", ROOT / "scripts/cost_growth.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("cost", "kind", "exponent", "constant"),
    [
        (lambda k: 7.0, "constant", 0.0, 1.0),
        (lambda k: 0.0, "constant", None, 1.0),
        (lambda k: 3.0 * k, "linear", 1.0, 0.0),
        (lambda k: 100.0 + k, "linear", None, 0.5),
        (lambda k: 0.5 * k * k, "quadratic", 2.0, 0.0),
        (lambda k: 10_000.0 + k * k, "quadratic", None, 0.5),
        (lambda k: 50.0 * k + k * k, "quadratic", None, 0.0),
        (lambda k: k**0.5, "levelling off", 0.5, None),
        (lambda k: 1000.0 / k, "falling", -1.0, 1.0),
        (lambda k: 2000.0 + k, "constant", None, 1.0),  # a twentieth at the last task
    ],
)
def test_growth_of_exact_costs(
    cost_growth: Any, cost: Any, kind: str, exponent: float | None, constant: float | None
) -> None:
    found = cost_growth.fit_growth(TASKS, [cost(k) for k in TASKS])
    assert found.kind == kind
    if cost(1) == 0:
        assert found.exponent is None and found.exponent_error is None
    if exponent is not None:
        assert found.exponent == pytest.approx(exponent, abs=1e-9)
        assert found.exponent_error == pytest.approx(0.0, abs=1e-9)
    if constant is not None:
        assert found.constant == pytest.approx(constant, abs=1e-9)


@pytest.mark.parametrize(
    ("cost", "kind"),
    [
        (lambda k: 1.0 + 0.0 * k, "constant"),
        (lambda k: 1.0 + 0.02 * k, "linear"),
        (lambda k: 1.0 + 0.001 * k**2, "quadratic"),
    ],
)
def test_noise_of_a_twentieth_hides_no_growth_and_makes_none(
    cost_growth: Any, cost: Any, kind: str
) -> None:
    tasks = np.arange(cost_growth.FIRST_FITTED, 101, cost_growth.TIMED[1])
    kinds = []
    for seed in range(50):
        noise = np.random.default_rng(seed).normal(1.0, 0.05, len(tasks))
        kinds.append(cost_growth.fit_growth(tasks, cost(tasks) * noise).kind)
    assert kinds.count(kind) >= 48


def test_the_error_of_the_exponent_is_that_of_least_squares(cost_growth: Any) -> None:
    """log y = log k ± log 2 in turns; the slope and its error by the textbook's formulas."""
    tasks = [1.0, 2.0, 4.0, 8.0]
    costs = [2.0, 1.0, 8.0, 4.0]
    x = np.log(tasks) - np.log(tasks).mean()
    y = np.log(costs)
    slope = x @ y / (x @ x)
    rest = y - y.mean() - slope * x
    found = cost_growth.fit_growth(tasks, costs)
    assert found.exponent == pytest.approx(slope)
    assert found.exponent_error == pytest.approx(np.sqrt(rest @ rest / 2 / (x @ x)))


def test_every_method_is_said_to_grow_somehow(cost_growth: Any) -> None:
    assert set(cost_growth.EXPECTED) == set(METHODS.names())


@pytest.mark.usefixtures("fresh_registries")  # it adds a sequence
def test_what_is_measured_of_a_task(cost_growth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks of a stream of four: the memory of replay grows by the rows of a task."""
    monkeypatch.setattr(cost_growth, "STEPS", 64)
    monkeypatch.setattr(cost_growth, "TURNS", 1)
    monkeypatch.setitem(cost_growth.SAC, "learning_starts", 32)
    first, second = cost_growth.measure("replay", 4, 2)
    rows, count = divmod(second["memory_bytes"] - first["memory_bytes"] - 8, 64)
    assert count == 0 and rows > 0
    assert second["parameters"] == first["parameters"]
    assert second["checkpoint_bytes"] - first["checkpoint_bytes"] == 64 * rows + 8
    assert min(second[key] for key in ("update_ms", "finetune_ms", "ratio", "switch_ms")) > 0
    assert second["peak_bytes"] >= first["peak_bytes"] > 50e6


def test_the_page_is_made_of_the_committed_data(cost_growth: Any) -> None:
    measured = json.loads(DATA.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    assert page == cost_growth.make_page(measured, "cost")
    shown = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(shown) == 2
    for figure in shown:
        assert (PAGE.parent / figure).is_file()


def test_the_growth_on_the_page_is_that_of_the_committed_costs(cost_growth: Any) -> None:
    """The kinds are words, which rounding of another processor does not change."""
    for one in json.loads(DATA.read_text(encoding="utf-8"))["methods"].values():
        found = cost_growth.describe_growth(one)
        assert {k: v["kind"] for k, v in found.items()} == {
            k: v["kind"] for k, v in one["growth"].items()
        }


def test_numbers_of_the_page_are_those_of_the_data(cost_growth: Any) -> None:
    """Another number in the data is another number on the page, and what is missing is told."""
    measured = json.loads(DATA.read_text(encoding="utf-8"))
    one = measured["methods"]["replay"]
    one["tasks"]["update_ms"] = [123.4] * len(one["tasks"]["update_ms"])
    one["growth"]["memory_bytes"]["kind"] = "quadratic"
    measured["missing"] = ["gem"]
    measured["methods"].pop("gem", None)
    page = cost_growth.make_page(measured, "cost")
    (row,) = re.findall(r"^\| `replay` \| 123 .*", page, re.MULTILINE)
    assert row.startswith("| `replay` | 123 | 123 | 123 |")
    assert "**quadratic** (linear)" in page
    assert "Not measured yet: gem. " in page
    assert "| `gem` | not measured (quadratic) |" in page
