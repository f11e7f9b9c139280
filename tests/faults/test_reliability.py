"""The page of what was tried is made of the counts, and these are what is promised."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "docs" / "results" / "faults.json"
FUZZ = ROOT / "docs" / "results" / "fuzz.json"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location(
        "reliability", ROOT / "scripts" / "reliability.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def counts():
    return json.loads(DATA.read_text())


def test_the_page_is_made_of_the_counts(script, counts):
    fuzz = json.loads(FUZZ.read_text()) if FUZZ.exists() else None
    page = (ROOT / "docs" / "reliability.md").read_text()
    assert page == script.make_page(counts, fuzz), "python scripts/reliability.py --page"


def test_enough_was_tried_and_nothing_failed(counts):
    assert counts["failures"] == []
    least = {"kills": 300, "bit flips": 150, "disk": 100}
    for section, kinds in counts["sections"].items():
        total = counts["total"][section]
        assert total["tried"] >= least.get(section, 1) and total["failed"] == 0
        for key in ("tried", "failed"):
            assert total[key] == sum(kind[key] for kind in kinds.values())
    for phase in ("start", "learning", "evaluation", "writing"):
        assert counts["sections"]["kills"][phase]["tried"] >= 20


def test_the_numbers_of_a_page_are_those_of_the_counts(script, counts):
    """Another number in the counts is another number on the page."""
    fuzz = {
        "command": "pytest -m fuzz",
        "versions": {},
        "seed": 0,
        "commands": {"run": {"inputs": 987, "accepted": 654, "refused": 333, "failed": 0}},
        "total": {"inputs": 987, "accepted": 654, "refused": 333, "failed": 0},
    }
    page = script.make_page(counts, fuzz)
    assert "| fuzzed inputs | 987 | 0 |" in page
    assert "| `run` | 987 | 654 | 333 | 0 |" in page and "    pytest -m fuzz" in page
    changed = json.loads(json.dumps(counts))
    changed["sections"]["kills"]["learning"]["tried"] = 123456
    assert "| learning | 123456 | 0 |" in script.make_page(changed, None)
