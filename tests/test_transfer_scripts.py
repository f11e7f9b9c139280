"""The tables of `scripts/pixel_student.py` and `scripts/distilled_memory.py`, from made figures."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script as Python does that runs it: beside the others."""
    monkeypatch.syspath_prepend(SCRIPTS)

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def seen(success: list[float], cpu: list[float]) -> dict[str, Any]:
    curve = {"steps": [0, 500, 1000], "success": success, "cpu_seconds": cpu}
    return {"curve": curve, "final_success": success[-1], "cpu_seconds": cpu[-1]}


def test_time_to_success_with_and_without_the_teacher(script: Any) -> None:
    module = script("pixel_student")
    results = {
        "reach seed 0 teacher, on the state": {"final_success": 1.0, "cpu_seconds": 40.0},
        "reach seed 0 SAC from pictures": seen([0, 0.5, 0.92], [0, 300, 800]),
        "reach seed 0 student": seen([0, 0.9, 0.8], [0, 80, 160]),
    }
    header, teacher, sac, student, shares = module.tabulate(results, "reach", 0).splitlines()
    told = "reach, seed 0 at the end steps to 0.9 CPU to 0.9 CPU seconds"
    assert " ".join(header.split()) == told
    assert teacher.split()[-4:] == ["1.00", "-", "-", "40"]
    assert sac.split()[-4:] == ["0.92", "1000", "800", "800"]
    assert student.split()[-4:] == ["0.80", "500", "80", "160"]
    assert shares == "student / SAC, CPU to 0.9: 0.10; with its teacher 0.15"
    results["reach seed 0 SAC from pictures"] = seen([0, 0.5, 0.8], [0, 300, 800])
    assert "student / SAC" not in module.tabulate(results, "reach", 0)


def test_rows_of_the_memory_table(script: Any) -> None:
    module = script("distilled_memory")
    results = {
        f"split-digits {kind} 5 seed {seed}": {
            "average_performance": 0.5 + 0.1 * seed,
            "forgetting": 0.1,
            "memory_bytes": 13_640,
            "cpu_seconds": 9.0 if kind == "distilled" else 4.0,
        }
        for kind in module.KINDS
        for seed in (0, 1)
    }
    title, _, *lines = module.tabulate(results, "split-digits", [5], [0, 1]).splitlines()
    assert title == "split-digits"
    told = "0.550 ± 0.071 0.100 ± 0.000 13.6 kB"
    assert [" ".join(line.split()) for line in lines] == [
        f"5 real {told} 0",
        f"5 balanced {told} 0",
        f"5 distilled {told} 5",
    ]
