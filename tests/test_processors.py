"""What the golden tests run without, and that a failure among them is told."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_processors.py"


@pytest.fixture
def check() -> Any:
    spec = importlib.util.spec_from_file_location("check_processors", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numpy_leaves_out_all_that_it_chooses_between(check: Any) -> None:
    restriction = check.find_restrictions()["NumPy"]
    if isinstance(restriction, str):
        pytest.skip(restriction)
    script = (
        "from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__\n"
        "print([name for name in __cpu_dispatch__ if __cpu_features__[name]])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],  # NumPy warns of names that it refuses
        env={**os.environ, **restriction},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_another_processor_is_told_why_nothing_is_left_out(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "X86", False)
    monkeypatch.setattr(check.dispatch, "__cpu_dispatch__", [])
    restrictions = check.find_restrictions()
    assert "makes no choice" in restrictions.pop("NumPy")
    del restrictions["torch"]
    assert all(reason.startswith("it is for x86") for reason in restrictions.values())


def test_each_is_left_out_alone_and_then_all_together(
    check: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[dict[str, str]] = []

    def run(tests: list[str], variables: dict[str, str]) -> bool:
        runs.append(dict(variables))
        return variables != {"B": "2"}

    monkeypatch.setattr(check, "find_tests", lambda: ["one"])
    monkeypatch.setattr(check, "run", run)
    restrictions = {"a": {"A": "1"}, "b": {"B": "2"}, "c": "it is not there"}
    monkeypatch.setattr(check, "find_restrictions", lambda: restrictions)
    assert check.main() == 1
    assert runs == [{"A": "1"}, {"B": "2"}, {"A": "1", "B": "2"}]
    told = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert told == ["passed", "FAILED", "skipped", "passed", "1"]
