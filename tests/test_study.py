"""The page of the first study: its verdicts, and that it holds what the data say."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def study_page() -> Any:
    spec = importlib.util.spec_from_file_location("study_page", ROOT / "scripts" / "study_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module


def estimate(value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}


def below(one: dict[str, float]) -> bool:
    return one["high"] < 0


def above(one: dict[str, float]) -> bool:
    return one["low"] > 0


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ({"a": estimate(-0.3, -0.4, -0.1), "b": estimate(-0.2, -0.3, -0.1)}, "supported"),
        ({"a": estimate(-0.3, -0.4, -0.1), "b": estimate(-0.1, -0.3, 0.1)}, "open"),
        ({"a": estimate(-0.3, -0.4, -0.1), "b": estimate(0.2, 0.1, 0.3)}, "contradicted"),
        ({"a": estimate(-0.3, -0.4, -0.1), "b": None}, "open"),
        ({"a": estimate(-0.3, None, None)}, "open"),
        ({"a": None}, "open"),
    ],
)
def test_verdicts_need_whole_intervals(study_page: Any, found: Any, verdict: str) -> None:
    assert study_page.judge_bounds(found, below, above)[0] == verdict


@pytest.mark.golden
def test_the_page_is_made_of_the_committed_data(study_page: Any) -> None:
    comparison = json.loads((ROOT / study_page.DATA).read_text())
    page = (ROOT / study_page.PAGE).read_text()
    assert page == study_page.make_study_page(comparison)
    shown = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(shown) >= 10
    for figure in shown:
        assert (ROOT / study_page.PAGE.parent / figure).is_file()
