"""Puts the toy plug-in where `--plugin toy_plugin` finds it; lets quick resumes be quick."""

import sys
from pathlib import Path

import pytest

TOY = str(Path(__file__).parents[1] / "benchmark")
if TOY not in sys.path:
    sys.path.append(TOY)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Resume within the second of the start; nothing here reads events of a resumed run."""
    log = "lifelong_rl.benchmark.metrics_log"
    monkeypatch.setattr(f"{log}.wait_for_next_name", lambda events: None)
