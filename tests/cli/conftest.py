"""Lets quick resumes be quick."""

import pytest


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Resume within the second of the start; nothing here reads events of a resumed run."""
    log = "lifelong_rl.storage.metrics_log"
    monkeypatch.setattr(f"{log}.wait_for_next_name", lambda events: None)
