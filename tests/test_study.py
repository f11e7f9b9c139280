"""The page of the first study: its verdicts, and that it holds what the data say."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
INF = math.inf


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


def judge(study_page: Any, bounds: tuple[float, float], one: Any) -> str:
    low, high = bounds
    verdict: str = study_page.Finding("claim", "rule", dict, low, high).judge(one)
    return verdict


@pytest.mark.parametrize(
    ("bounds", "one", "verdict"),
    [
        ((-INF, 0.0), estimate(-0.3, -0.4, -0.1), "supported"),
        ((-INF, 0.0), estimate(-0.1, -0.3, 0.1), "open"),
        ((-INF, 0.0), estimate(0.2, 0.1, 0.3), "contradicted"),
        ((-INF, 0.0), estimate(0.0, 0.0, 0.0), "open"),
        ((0.9, INF), estimate(1.0, 0.95, 1.0), "supported"),
        ((0.9, INF), estimate(0.5, 0.4, 0.8), "contradicted"),
        ((-0.1, 0.1), estimate(0.0, -0.05, 0.05), "supported"),
        ((-0.1, 0.1), estimate(0.1, 0.05, 0.2), "open"),
        ((-0.1, 0.1), estimate(0.3, 0.2, 0.4), "contradicted"),
        ((-0.1, 0.1), estimate(-0.3, -0.4, -0.2), "contradicted"),
        ((-INF, 0.0), estimate(-0.3, None, None), "open"),
        ((-INF, 0.0), None, "open"),
    ],
)
def test_verdicts_need_whole_intervals(
    study_page: Any, bounds: tuple[float, float], one: Any, verdict: str
) -> None:
    assert judge(study_page, bounds, one) == verdict


@pytest.mark.parametrize("low", [-0.4, -0.1, 0.0, 0.1])
@pytest.mark.parametrize("width", [0.0, 0.05, 0.3])
def test_a_rule_is_as_strict_with_what_it_supports_as_with_what_it_contradicts(
    study_page: Any, low: float, width: float
) -> None:
    mirrored = {"supported": "contradicted", "contradicted": "supported", "open": "open"}
    found = judge(study_page, (-INF, 0.0), estimate(low, low, low + width))
    opposite = judge(study_page, (-INF, 0.0), estimate(-low, -low - width, -low))
    assert opposite == mirrored[found]


def test_methods_that_differ_are_told_apart(study_page: Any) -> None:
    figures = {"ewc": estimate(-0.3, -0.4, -0.1), "si": None, "l2": estimate(0.2, 0.1, 0.3)}
    finding = study_page.Finding("claim", "rule", lambda section: figures, high=0.0)
    verdict, shown = finding.describe({})
    assert verdict == "**supported**: ewc; **contradicted**: l2; **open**: si"
    assert shown == "ewc -0.30 [-0.40, -0.10], si no runs, l2 0.20 [0.10, 0.30]"


def test_slower_learning_is_told_from_fine_tunings(study_page: Any) -> None:
    """A method that learns as slowly as fine-tuning pays nothing for what it keeps."""
    slow = estimate(-0.2, -0.3, -0.1)
    groups = [
        {"method": method, "agent": "sac", "scores": {"forward_transfer_auc": {"iqm": slow}}}
        for method in ("ewc", "l2", "si", "replay")
    ]
    for group in groups:
        equal = estimate(0.0, -0.1, 0.1)
        group["over_finetune"] = {"forward_transfer_auc": {"iqm": equal}}
    verdicts = [
        finding.describe({"groups": groups})[0]
        for finding in study_page.FINDINGS
        if "transfer" in finding.rule
    ]
    assert verdicts == ["**open**", "**open**"]


def test_cells_that_were_not_run_are_counted(study_page: Any) -> None:
    every = {cell.name for cell in study_page.read_study(ROOT / study_page.STUDY).cells}
    left = every - {"arm3-sac-ewc-seed0", "arm3-sac-ewc-seed1", "arm3-bc-gem-seed0"}
    found = study_page.count_cells(left)
    assert found["cells"] == len(every)
    assert found["missing"] == {"arm3 with sac": 2, "arm3 with bc": 1}


@pytest.mark.golden
def test_the_page_is_made_of_the_committed_data(study_page: Any) -> None:
    comparison = json.loads((ROOT / study_page.DATA).read_text())
    page = (ROOT / study_page.PAGE).read_text()
    assert page == study_page.make_study_page(comparison)
    shown = re.findall(r"!\[.*?\]\((.*?)\)", page)
    assert len(shown) >= 10
    for figure in shown:
        assert (ROOT / study_page.PAGE.parent / figure).is_file()
