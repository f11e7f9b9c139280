"""Lets quick resumes be quick, and tests find what they try faults with."""

import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "vision")]


@pytest.fixture(autouse=True)
def no_waiting(request, monkeypatch):
    """Resume within the second of the start, unless a test reads the TensorBoard events."""
    if "reads_events" not in request.fixturenames:
        log = "lifelong_rl.storage.metrics_log"
        monkeypatch.setattr(f"{log}.wait_for_next_name", lambda events: None)


@pytest.fixture
def reads_events():
    """Keep the order of event files."""
